//! More orders at once than there is room for: no part of the system is cut off, what is let in is finished, and what is refused was
//! never there.

use amends::client::{Answer, Client, order_of};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Result, ensure};
use futures::future::{join_all, try_join_all};
use serde_json::{Value, json};

/// Orders that are let in at once, by [`settings`].
const ROOM: usize = 24;
/// And how many times as many are sent.
const TIMES: usize = 4;
/// A customer who is told to come back does so as often, with a pause.
const TRIES: usize = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

pub(crate) fn settings() -> Value {
    json!({
        "gateway": {"rate_limit": {"enabled": false}},
        // A quarter of those who wait can only be repeats.
        "order": {"admission": {"working_min": 2, "working_first": 2}, "limits": {"waiting_max": ROOM * 4 / 3}},
    })
}

pub(crate) async fn what_is_let_in_is_finished_and_the_rest_was_never_there(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let keys: Vec<String> = (0..TIMES * ROOM).map(|_| key()).collect();
    let answers = try_join_all(keys.iter().map(|key| place(&demo, key))).await?;
    let served = answers.iter().filter(|answer| is_served(answer)).count();
    for answer in answers.iter().filter(|answer| !is_served(answer)) {
        let is_told = answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0);
        ensure!(answer.status.as_u16() == 503 && answer.text("/code") == "overloaded" && is_told, "{answer:?}");
    }
    ensure!((ROOM / 2..TIMES * ROOM).contains(&served), "{served} of {} were served", keys.len());
    // All are on one page.
    let page = demo.get("/v1/orders?limit=100").await?;
    let written = page.body["orders"].as_array().map_or(0, Vec::len);
    ensure!(written == served, "{served} were served, and {written} were written: {}", page.body);
    no_breaker_has_opened(platform).await?;

    let orders = join_all(keys.iter().map(|key| until_confirmed(&demo, key))).await;
    let mut orders = orders.into_iter().collect::<Result<Vec<_>>>()?;
    orders.sort_unstable();
    orders.dedup();
    ensure!(orders.len() == keys.len(), "{} orders for {} keys", orders.len(), keys.len());
    no_breaker_has_opened(platform).await?;
    platform.settled().await?;
    platform.audit().await
}

async fn place(demo: &Client, key: &str) -> Result<Answer> {
    demo.place(key, &order_of("espresso-1kg", 1, "pm_ok")).await
}

fn is_served(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 201 | 202)
}

async fn until_confirmed(demo: &Client, key: &str) -> Result<String> {
    for _ in 0..TRIES {
        let answer = place(demo, key).await?;
        match answer.status.as_u16() {
            201 => return Ok(answer.text("/id").to_owned()),
            202 | 503 => tokio::time::sleep(PAUSE).await,
            _ => anyhow::bail!("{} {}", answer.status, answer.body),
        }
    }
    anyhow::bail!("no order after {TRIES} tries")
}

async fn no_breaker_has_opened(platform: &Platform) -> Result<()> {
    let program = if platform.admin_address("order").is_ok() { "order" } else { "amends" };
    let url = format!("http://{}/metrics", platform.admin_address(program)?);
    let metrics = service_base::client::internal().build()?.get(url).send().await?.error_for_status()?.text().await?;
    ensure!(metrics.contains("circuit_breaker_state{"), "breakers are not shown in\n{metrics}");
    let opened = metrics.lines().find(|line| line.starts_with("circuit_breaker_transitions_total{"));
    ensure!(opened.is_none(), "a breaker has changed: {opened:?}");
    Ok(())
}
