//! The same on PostgreSQL, MongoDB and an acquirer of its own, for what is read in another way there: SQL of another dialect, and a
//! statement over HTTP.

use amends::audit::laws::Law;
use amends_tests::platform::Platform;
use anyhow::{Context, Result, ensure};

use super::{execute, found, place, plan::Plan};

pub(crate) async fn planted_on_servers_it_is_found(platform: &mut Platform) -> Result<()> {
    let orders = place(platform, "case-confirmed", "pm_ok", 6).await?;
    place(platform, amends::catalogue::REFUSED_AT_PIVOT, "pm_ok", 2).await?;
    let declined = place(platform, "case-declined", "pm_declined", 2).await?;
    platform.settled().await?;
    platform.audit().await.context("before anything is planted")?;

    let mut plan = Plan::default();
    let [payload, journal, shipped_not, sold, amount, key] = orders.as_slice() else { anyhow::bail!("{orders:?}") };
    // Only the second event names it.
    plan.sql("order", format!("UPDATE orders SET events = replace(events, payment_id, id) WHERE id = '{payload}'"));
    plan.expect(payload, Law::OutboxPayloadDiffers);
    plan.sql("order", format!("UPDATE sagas SET seq = seq + 1 WHERE subject = '{journal}'"));
    plan.expect(journal, Law::JournalBroken);
    plan.sql("order", format!("UPDATE orders SET key_fingerprint = NULL, key_expires_at = NULL WHERE id = '{key}'"));
    plan.expect(key, Law::KeyMissing);
    let [failed, more] = declined.as_slice() else { anyhow::bail!("{declined:?}") };
    let away = "'payment_declined', 'dependency_unavailable'";
    plan.sql(
        "order",
        format!(
            "UPDATE orders SET failure_code = replace(failure_code, {away}), events = replace(events, {away}) WHERE id = '{failed}'"
        ),
    );
    plan.expect(failed, Law::KeyNamesOtherOrder);
    let twice = |column: &str| format!("{column} = replace({column}, '\"quantity\":1', '\"quantity\":2')");
    plan.sql("order", format!("UPDATE orders SET {}, {} WHERE id = '{more}'", twice("lines"), twice("events")));
    plan.expect(more, Law::TotalNotSumOfLines);
    let shipped = r#"{"at":1,"kind":"order_shipped","payload":{},"version":3}"#;
    let more = format!("substr(events, 1, length(events) - 1) || ',{shipped}]'");
    plan.sql("order", format!("UPDATE orders SET events = {more} WHERE id = '{shipped_not}'"));
    plan.expect(shipped_not, Law::OutboxEventUnfounded);
    plan.sql(
        "inventory",
        "INSERT INTO items (sku, name, price_minor, currency, on_hand, reserved, updated_at) VALUES ('planted', 'P', 1, 'EUR', 9, 3, 1)",
    );
    plan.expect("item planted", Law::ReservedNotSumOfHeld);
    plan.sql("inventory", format!("UPDATE reservations SET state = 'restocked' WHERE order_id = '{sold}'"));
    plan.expect(sold, Law::GoodsNotCommitted);
    let step = format!("{}/commit_stock", plan.id());
    let answer = plan.id();
    plan.sql(
        "inventory",
        format!("INSERT INTO saga_barrier VALUES ('{step}', 'done', 'f', '{{\"reservation\":\"{answer}\"}}', 1, 1)"),
    );
    plan.expect(format!("step {step}"), Law::StepAndGoodsDiffer);

    // At the bank: what it took for one order, and something that was never asked for.
    let saga = saga_of(platform, amount).await?;
    plan.sql(
        "acquirer",
        format!(
            "UPDATE acquirer_movements SET amount_minor = amount_minor - 1 WHERE charge_key = '{saga}/charge_payment'"
        ),
    );
    plan.expect(amount, Law::BankAmountDiffers);
    let unknown = format!("{}/charge_payment", plan.id());
    plan.sql(
        "acquirer",
        format!(
            "INSERT INTO acquirer_movements SELECT MAX(seq) + 1, 1, 'capture', '{unknown}', '{unknown}', 500, 'EUR', 'r' \
             FROM acquirer_movements"
        ),
    );
    plan.expect(format!("key {unknown}"), Law::BankCaptureUnknown);

    for (store, statements) in &plan.statements {
        execute(&platform.store_url(store)?, statements).await?;
    }
    let found = found(platform, &["audit", "--json"]).await?;
    let expected = plan.expected.into_iter().map(|(subject, codes)| {
        let codes: Vec<String> = codes.into_iter().map(str::to_owned).collect();
        (subject, codes)
    });
    let expected = expected.collect();
    ensure!(found == expected, "found {found:#?}, planted {expected:#?}");

    platform.kill("acquirer").await?;
    let report = platform.amends(&["audit"]).await?.expect_err("the bank is not there");
    ensure!(report.contains("! not checked: the bank's books"), "{report}");
    Ok(())
}

async fn saga_of(platform: &Platform, order: &str) -> Result<String> {
    let database = amends_sql::Database::connect_lazy(&platform.store_url("order")?, &amends_sql::Options::default())?;
    let query = sqlx::query_scalar("SELECT saga_id FROM orders WHERE id = $1").bind(order.to_owned());
    Ok(query.fetch_one(database.reader()).await?)
}
