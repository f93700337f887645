//! What an operator sees and does when a saga needs a human: the payment service answers the refund of a cancelled order with an internal
//! error until its saga is parked. While the service is merely away the saga is not parked, and shows that it waits.

use amends::client::order_of;
use amends_tests::{
    check::{expect, key},
    platform::Platform,
    process::eventually,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// Sagas that are parked soon, and a breaker that does not keep the retry waiting.
pub(crate) fn settings() -> Value {
    json!({"order": {
        "saga": {"attempts_before_parking": 2},
        "payment": {"resilience": {"breaker": {"open_ms": 100}}},
    }})
}

/// Parks a saga, finds it, has it tried again, and reads who did so and why.
pub(crate) async fn a_parked_saga_is_found_and_helped(platform: &mut Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let placed = demo.place(&key(), &order_of("case-cancel", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    let order = placed.text("/id").to_owned();
    platform.kill("payment").await?;
    let cancelled = demo.post(&format!("/v1/orders/{order}/cancel")).await?;
    ensure!([202, 503].contains(&cancelled.status.as_u16()), "{} {}", cancelled.status, cancelled.body);

    // Three times as many attempts as park a saga.
    let journaled = eventually("attempts without an answer are journaled", PATIENCE, || async {
        attempts_of_the_refund(platform, &order).await.is_ok_and(|attempts| attempts >= 6)
    });
    if let Err(error) = journaled.await {
        return Err(error.context(format!("the refund: {:?}", attempts_of_the_refund(platform, &order).await)));
    }
    ensure!(listed(platform, &["--state", "parked"]).await?.contains("no such saga"), "an outage parked a saga");
    let stats = platform.amends(&["saga", "stats"]).await?.map_err(anyhow::Error::msg)?;
    ensure!(stats.contains("running") && stats.contains("oldest"), "it is to be seen that it waits: {stats}");
    platform.restart("payment").await?;
    platform.switch_faults("payment", json!({"internal_pct": 100})).await?;

    let parked = ["--state", "parked", "--json"];
    eventually("the saga is parked", PATIENCE, || async {
        listed(platform, &parked).await.is_ok_and(|listed| listed.contains("cancel-order"))
    })
    .await?;
    let answer: Value = serde_json::from_str(&listed(platform, &parked).await?)?;
    let sagas = &answer["sagas"];
    let saga = &sagas[0];
    ensure!(saga["order_id"] == order.as_str() && saga["kind"] == "cancel-order", "another saga: {saga}");
    let id = saga["id"].as_str().context("a saga has an id")?;
    ensure!(
        listed(platform, &["--state", "parked", "--kind", "place-order"]).await?.contains("no such saga"),
        "a wrong kind"
    );
    ensure!(
        listed(platform, &["--state", "parked", "--older-than", "1h"]).await?.contains("no such saga"),
        "too young"
    );
    ensure!(listed(platform, &["--kind", "cancel-order"]).await?.contains(id), "the right kind");
    let stats = platform.amends(&["saga", "stats"]).await?.map_err(anyhow::Error::msg)?;
    ensure!(stats.contains("parked") && stats.contains("1 replicas"), "{stats}");

    // What cannot be asked is refused, and says why; nothing is journaled.
    ensure!(
        platform.amends(&["saga", "cancel", id, "--who", "t", "--why", "w"]).await?.is_err(),
        "cancelled when parked"
    );
    ensure!(platform.amends(&["saga", "retry", id, "--who", "t", "--why", " "]).await?.is_err(), "without a reason");
    let wrong = ["saga", "resolve", id, "--step", "refund", "--as", "done", "--who", "t", "--why", "w"];
    let wrong = platform.amends(&wrong).await?.expect_err("there is no such step");
    ensure!(wrong.contains("refund_payment"), "the right names are missing: {wrong}");

    platform.switch_faults("payment", json!({})).await?;
    let asked = ["saga", "retry", id, "--who", "ada", "--why", "the payment service is repaired", "--wait", "30"];
    let told = platform.amends(&asked).await?.map_err(anyhow::Error::msg)?;
    ensure!(told.contains("taken it up"), "{told}");
    platform.settled().await?;
    expect(&demo.get(&format!("/v1/orders/{order}")).await?, 200, "/status", "cancelled")?;
    let shown = platform.amends(&["saga", "show", id]).await?.map_err(anyhow::Error::msg)?;
    ensure!(shown.contains("retry by ada: the payment service is repaired"), "{shown}");
    ensure!(shown.contains("refund_payment"), "{shown}");
    platform.audit().await
}

/// As its saga's timeline tells.
async fn attempts_of_the_refund(platform: &Platform, order: &str) -> Result<u64> {
    let listed: Value =
        serde_json::from_str(&listed(platform, &["--order", order, "--kind", "cancel-order", "--json"]).await?)?;
    let id = listed["sagas"][0]["id"].as_str().context("a saga has an id")?;
    let shown = platform.amends(&["saga", "show", id, "--json"]).await?.map_err(anyhow::Error::msg)?;
    let shown: Value = serde_json::from_str(&shown)?;
    let refund = shown["steps"].as_array().context("steps")?.iter().find(|entry| entry["name"] == "refund_payment");
    refund.and_then(|entry| entry["attempts"].as_u64()).context("the refund was attempted")
}

async fn listed(platform: &Platform, filter: &[&str]) -> Result<String> {
    platform.amends(&[&["saga", "list"], filter].concat()).await?.map_err(anyhow::Error::msg)
}
