//! The operator's audit against stores that somebody has tampered with: one discrepancy of each kind, each planted by SQL in an order of
//! its own, past everything that keeps our own programs from writing such a thing.

use std::collections::BTreeMap;

use amends::client::{Client, order_of};
use amends_sql::{Database, Options};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::orders::order_in_location;

const NEW_ID: &str = "0198c0de-0000-7000-8000-00000000000";

pub(crate) async fn ten_planted_discrepancies_are_found(platform: &mut Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let confirmed = async || Ok::<_, anyhow::Error>(place(&demo, "case-confirmed", "pm_ok").await?);
    let (twice, unpaid, amount, currency, stuck) =
        (confirmed().await?, confirmed().await?, confirmed().await?, confirmed().await?, confirmed().await?);
    let declined = place(&demo, "case-declined", "pm_declined").await?;
    let holding = place(&demo, "case-declined", "pm_declined").await?;
    let refund_missing = place(&demo, amends::catalogue::REFUSED_AT_PIVOT, "pm_ok").await?;
    let over_refunded = place(&demo, amends::catalogue::REFUSED_AT_PIVOT, "pm_ok").await?;
    let untouched = confirmed().await?;
    platform.settled().await?;
    platform.audit().await.context("before anything is planted")?;
    // Nobody mends anything meanwhile.
    platform.kill("amends").await?;

    let copy = |of: &str, number: u8, order: &str| {
        format!(
            "CREATE TEMP TABLE one AS SELECT * FROM payments WHERE order_id = '{of}';
             UPDATE one SET step_key = '{NEW_ID}{number}/charge_payment', payment_id = '{NEW_ID}{number}', order_id = '{order}';
             INSERT INTO payments SELECT * FROM one;
             DROP TABLE one"
        )
    };
    let orphan = format!("{NEW_ID}9");
    let payments = [
        copy(&twice, 1, &twice),
        copy(&untouched, 2, &declined),
        format!(
            "UPDATE payments SET status = 'captured', refunded_minor = 0, refunds = '[]' WHERE order_id = '{refund_missing}'"
        ),
        format!(
            "UPDATE payments SET refunded_minor = amount_minor + 100,
                refunds = json_set(refunds, '$[0].amount_minor', amount_minor + 100) WHERE order_id = '{over_refunded}'"
        ),
        format!("DELETE FROM payments WHERE order_id = '{unpaid}'"),
        format!("UPDATE payments SET captured_minor = captured_minor - 1 WHERE order_id = '{amount}'"),
        format!("UPDATE payments SET currency = 'USD' WHERE order_id = '{currency}'"),
        copy(&untouched, 3, &orphan),
    ];
    plant(platform, "payment", &payments).await?;
    let held = format!("UPDATE reservations SET state = 'held' WHERE order_id = '{holding}'");
    plant(platform, "inventory", &[held]).await?;
    plant(platform, "order", &[format!("UPDATE orders SET status = 'pending', updated_at = 0 WHERE id = '{stuck}'")])
        .await?;

    let report = platform.amends(&["audit", "--json"]).await?.expect_err("the audit saw nothing");
    let report: Value = serde_json::Deserializer::from_str(&report).into_iter().next().context("no report")??;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in report["discrepancies"].as_array().context("no discrepancies")? {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        ensure!(!text("advice").is_empty() && !text("detail").is_empty(), "{finding} does not say what to do");
        found.entry(text("order_id")).or_default().push(text("code"));
    }
    let expected = [
        (twice, "charged_twice"),
        (declined, "charged_for_nothing"),
        (refund_missing, "charged_for_nothing"),
        (over_refunded, "over_refunded"),
        (holding, "goods_held"),
        (unpaid, "not_charged"),
        (amount, "wrong_amount"),
        (currency, "wrong_currency"),
        (orphan, "orphan_payment"),
        (stuck, "saga_stuck"),
    ];
    let expected: BTreeMap<String, Vec<String>> =
        expected.into_iter().map(|(order, code)| (order, vec![code.to_owned()])).collect();
    ensure!(found == expected, "found {found:#?}, planted {expected:#?}");
    Ok(())
}

async fn place(demo: &Client, sku: &str, method: &str) -> Result<String> {
    order_in_location(&demo.place(&key(), &order_of(sku, 1, method)).await?)
}

async fn plant(platform: &Platform, service: &str, statements: &[String]) -> Result<()> {
    let database = Database::connect_lazy(&platform.embedded_database(service), &Options::default())?;
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(database.writer()).await?;
    for statement in statements.iter().flat_map(|statements| statements.split(';')) {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.trim().to_owned())).execute(database.writer()).await;
        done.with_context(|| statement.to_owned())?;
    }
    database.close().await;
    Ok(())
}
