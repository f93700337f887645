//! The operator's audit against stores that have been tampered with: each invariant broken once, by SQL, past everything that keeps
//! our own programs from writing such a thing, in an order of its own. Each is found, and nothing else.

mod goods;
mod money;
mod orders;
mod plan;
mod servers;

use std::collections::{BTreeMap, BTreeSet};

use amends::audit::laws::Law;
use amends_sql::{Database, Options};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use self::plan::{Order, Plan};
use crate::orders::order_in_location;

pub(crate) use servers::planted_on_servers_it_is_found;

/// Orders placed at once: as many as a caller may.
const AT_ONCE: usize = 8;
/// Audits of one busy store.
const BUSY_AUDITS: usize = 5;
/// What is bought meanwhile: orders that are confirmed, declined, in doubt, and refused when they are paid.
const BUSY: [(&str, &str); 5] = [
    ("case-cancel", "pm_ok"),
    ("case-declined", "pm_declined"),
    ("case-confirmed", "pm_flaky"),
    (amends::catalogue::REFUSED_AT_PIVOT, "pm_ok"),
    ("case-confirmed", "pm_timeout"),
];
/// As many as are planted in.
const CONFIRMED: usize = 40;
const DECLINED: usize = 6;
const REFUNDED: usize = 7;

pub(crate) async fn every_planted_discrepancy_is_found(platform: &mut Platform) -> Result<()> {
    let confirmed = place(platform, "case-confirmed", "pm_ok", CONFIRMED).await?;
    let declined = place(platform, "case-declined", "pm_declined", DECLINED).await?;
    let refunded = place(platform, amends::catalogue::REFUSED_AT_PIVOT, "pm_ok", REFUNDED).await?;
    let demo = platform.demo().await?;
    let cancelled =
        order_in_location(&demo.place(&key(), &amends::client::order_of("case-cancel", 1, "pm_ok")).await?)?;
    demo.post(&format!("/v1/orders/{cancelled}/cancel")).await?;
    platform.settled().await?;
    platform.audit().await.context("before anything is planted")?;
    a_bank_that_does_not_answer_is_no_clean_bank(platform).await?;
    // No saga repairs anything meanwhile.
    platform.kill("amends").await?;

    let mut plan = Plan {
        confirmed: read(platform, &confirmed).await?,
        declined: read(platform, &declined).await?,
        refunded: read(platform, &refunded).await?,
        ..Plan::default()
    };
    money::plant(&mut plan);
    goods::plant(&mut plan);
    orders::plant(&mut plan);
    for (store, statements) in &plan.statements {
        execute(&platform.embedded_database(store), statements).await?;
    }

    let planted: BTreeSet<&str> = plan.expected.values().flatten().copied().collect();
    let missing: Vec<&str> = Law::ALL.iter().map(|law| law.code()).filter(|code| !planted.contains(code)).collect();
    ensure!(missing.is_empty(), "no planting breaks {missing:?}");
    let found = found(platform, &["audit", "--json"]).await?;
    let (expected, mut wrong) = (plan.expected, Vec::new());
    for subject in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let (found, planted) =
            (found.get(subject).cloned().unwrap_or_default(), expected.get(subject).cloned().unwrap_or_default());
        if found != planted.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>() {
            wrong.push(format!("{subject}: planted {planted:?}, found {found:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Audits of stores that orders are being placed and cancelled in, one after the other: what is merely on its way is no discrepancy.
pub(crate) async fn nothing_is_found_while_orders_are_placed(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let audits = async {
        for round in 0..BUSY_AUDITS {
            platform.amends(&["audit"]).await?.map_err(|report| anyhow::anyhow!("round {round}: {report}"))?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let buyer = async |number: usize| {
        let (sku, method) = BUSY[number % BUSY.len()];
        let placed = demo.place(&key(), &amends::client::order_of(sku, 1, method)).await?;
        if placed.status == 201 && number.is_multiple_of(2) {
            demo.post(&format!("/v1/orders/{}/cancel", placed.text("/id"))).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let mut buyers = std::pin::pin!(stream::iter(0..).map(buyer).buffer_unordered(AT_ONCE));
    let mut audits = std::pin::pin!(audits);
    let mut placed = 0;
    loop {
        tokio::select! {
            audited = &mut audits => {
                audited?;
                ensure!(placed > 0, "no order was placed meanwhile");
                break;
            }
            Some(bought) = buyers.next() => {
                bought?;
                placed += 1;
            }
        }
    }
    platform.settled().await?;
    platform.audit().await
}

/// Nothing is wrong, but not everything could be checked: that is said, and is not success, unless it is asked for.
async fn a_bank_that_does_not_answer_is_no_clean_bank(platform: &Platform) -> Result<()> {
    let nowhere = [
        "--set",
        "payment.processor.kind=http",
        "--set",
        "payment.processor.http.url=http://127.0.0.1:1",
        "--set",
        "payment.processor.http.secret=a-secret-of-16-or-more",
    ];
    let report = platform.amends(&[&["audit"][..], &nowhere].concat()).await?.expect_err("the bank is not there");
    ensure!(report.contains("! not checked: the bank's books") && !report.contains('✗'), "{report}");
    let report =
        platform.amends(&[&["audit", "--without-bank"][..], &nowhere].concat()).await?.map_err(anyhow::Error::msg)?;
    ensure!(report.contains("- left out: the bank's books"), "{report}");
    Ok(())
}

/// What an audit that must find something finds: the codes, sorted, by order; by kind and id where no order is concerned.
async fn found(platform: &Platform, arguments: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    let report = platform.amends(arguments).await?.expect_err("the audit saw nothing");
    let report: Value = serde_json::Deserializer::from_str(&report).into_iter().next().context("no report")??;
    ensure!(report["not_checked"] == serde_json::json!([]), "not checked: {}", report["not_checked"]);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in report["discrepancies"].as_array().context("no discrepancies")? {
        let text = |pointer: &str| finding.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        ensure!(!text("/advice").is_empty() && !text("/detail").is_empty(), "{finding} does not say what to do");
        let order = text("/order_id");
        let subject =
            if order.is_empty() { format!("{} {}", text("/subject/kind"), text("/subject/id")) } else { order };
        found.entry(subject).or_default().push(text("/code"));
    }
    for codes in found.values_mut() {
        codes.sort();
    }
    Ok(found)
}

async fn place(platform: &Platform, sku: &str, method: &str, count: usize) -> Result<Vec<String>> {
    let demo = platform.demo().await?;
    let placed = stream::iter(0..count).map(|_| async {
        let answer = demo.place(&key(), &amends::client::order_of(sku, 1, method)).await?;
        order_in_location(&answer)
    });
    placed.buffer_unordered(AT_ONCE).try_collect().await
}

/// What the embedded stores know of each order.
async fn read(platform: &Platform, ids: &[String]) -> Result<Vec<Order>> {
    let open = |store: &str| Database::connect_lazy(&platform.embedded_database(store), &Options::default());
    let (orders, payments, inventory) = (open("order")?, open("payment")?, open("inventory")?);
    let one = async |database: &Database, sql: &str, id: &str| {
        let query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql.to_owned())).bind(id.to_owned());
        query.fetch_one(database.reader()).await.with_context(|| format!("{sql} {id}"))
    };
    let mut read = Vec::with_capacity(ids.len());
    for id in ids {
        read.push(Order {
            id: id.clone(),
            saga: one(&orders, "SELECT saga_id FROM orders WHERE id = $1", id).await?,
            payment: one(&payments, "SELECT payment_id FROM payments WHERE order_id = $1", id).await?,
            reservation: one(&inventory, "SELECT id FROM reservations WHERE order_id = $1", id).await?,
            placed_at: one(&orders, "SELECT CAST(created_at AS TEXT) FROM orders WHERE id = $1", id).await?.parse()?,
        });
    }
    Ok(read)
}

/// Runs statements that no constraint stops.
async fn execute(url: &str, statements: &[String]) -> Result<()> {
    let database = Database::connect_lazy(url, &Options::default())?;
    if url.starts_with("sqlite:") {
        for pragma in ["PRAGMA ignore_check_constraints = ON", "PRAGMA foreign_keys = OFF"] {
            sqlx::query(pragma).execute(database.writer()).await?;
        }
    }
    for statement in statements {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(database.writer()).await;
        let done = done.with_context(|| statement.clone())?;
        let of_rows = ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| statement.starts_with(verb));
        ensure!(!of_rows || done.rows_affected() > 0, "changes nothing: {statement}");
    }
    database.close().await;
    Ok(())
}
