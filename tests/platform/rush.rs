//! More buyers than goods, all at once: exactly as many are served as there are goods, and no customer pays for nothing.

use std::sync::Arc;

use amends::client::{Client, order_of};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const BUYERS: usize = 1000;
const ITEMS: usize = 100;
/// Requests in flight.
const AT_ONCE: usize = 64;
/// A buyer whose order could not be served for want of a service asks again under the same key, so often at the most.
const TRIES: usize = 200;

/// One address orders a thousand times, and not a latency budget is looked at, but who gets what.
pub(crate) fn settings() -> Value {
    json!({
        "gateway": {"rate_limit": {"enabled": false}},
        "order": {
            "saga": {"attempt_timeout_ms": 4_000},
            "payment": {"resilience": {"timeout_ms": 4_000}},
            "inventory": {"resilience": {"timeout_ms": 4_000}},
        },
    })
}

pub(crate) async fn a_thousand_buyers_get_a_hundred_items(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let buyers: Vec<_> = (0..BUYERS)
        .map(|_| {
            let (demo, permits) = (demo.clone(), Arc::clone(&permits));
            tokio::spawn(async move {
                let _permit = permits.acquire().await?;
                buy(&demo).await
            })
        })
        .collect();
    let (mut served, mut refused) = (Vec::new(), 0);
    for buyer in buyers {
        match buyer.await?? {
            Some(order) => served.push(order),
            None => refused += 1,
        }
    }
    ensure!(served.len() == ITEMS && refused == BUYERS - ITEMS, "{} served, {refused} refused", served.len());
    ensure!(platform.available("case-rush").await? == 0, "goods are left, or oversold");
    for order in &served {
        let books = platform.books(order).await?;
        let paid = books.payments == 1 && books.captured == 1850 && books.refunded == 0 && books.committed == 1;
        ensure!(paid, "{order} was served, and its books say {books:?}");
    }
    platform.settled().await?;
    platform.audit().await
}

/// The order, or nothing when the goods are gone.
async fn buy(demo: &Client) -> Result<Option<String>> {
    let (key, order) = (key(), order_of("case-rush", 1, "pm_ok"));
    for _ in 0..TRIES {
        let answer = demo.place(&key, &order).await?;
        match answer.status.as_u16() {
            201 => return Ok(Some(answer.text("/id").to_owned())),
            409 => {
                ensure!(answer.text("/code") == "insufficient_stock", "{}", answer.body);
                return Ok(None);
            }
            202 | 503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            _ => anyhow::bail!("{} {}", answer.status, answer.body),
        }
    }
    anyhow::bail!("no answer after {TRIES} tries")
}
