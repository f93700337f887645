//! The bank on the other side of a real network: it dies, freezes, is cut off and misbehaves while orders are placed. Whatever comes
//! of each order, the money that moved there is the money that our payments say.

use std::time::Duration;

use amends::client::{Client, order_of};
use amends_tests::{check::key, platform::Platform, process::eventually};
use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use serde_json::{Value, json};

const ORDERS: usize = 24;
const RECOVERY: Duration = Duration::from_mins(1);

/// As for crash tests: what is looked at is not a latency budget, and a breaker that stays open would keep orders from what they are
/// to meet.
pub(crate) fn settings() -> Value {
    json!({
        "order": {
            "payment": {"resilience": {"timeout_ms": 2_000, "breaker": {"open_ms": 100}}},
            "saga": {"attempt_timeout_ms": 2_000},
        },
        "payment": {"processor": {"timeout_ms": 1_500, "http": {"attempt_timeout_ms": 500}}},
    })
}

pub(crate) async fn an_acquirer_may_fail_in_every_way(platform: &mut Platform) -> Result<()> {
    let demo = platform.demo().await?;
    for way in ["killed", "frozen", "cut off", "misbehaving"] {
        let orders = place_all(&demo);
        let trouble = trouble(platform, way);
        let (orders, troubled) = tokio::join!(orders, trouble);
        troubled.with_context(|| way.to_owned())?;
        let orders = orders?;
        platform.settled().await.with_context(|| way.to_owned())?;
        platform.audit().await.with_context(|| format!("{way}: {orders:?}"))?;
        eventually("orders are confirmed again", RECOVERY, || async {
            place(&demo).await.is_ok_and(|status| status == 201)
        })
        .await?;
    }
    platform.settled().await?;
    platform.audit().await
}

async fn trouble(platform: &mut Platform, way: &str) -> Result<()> {
    // Somewhere within the orders that are being placed.
    let a_while = || tokio::time::sleep(Duration::from_millis(150));
    a_while().await;
    match way {
        "killed" => {
            for _ in 0..3 {
                platform.kill("acquirer").await?;
                platform.restart("acquirer").await?;
                a_while().await;
            }
        }
        "frozen" => {
            platform.signal("acquirer", "STOP").await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            platform.signal("acquirer", "CONT").await?;
        }
        "cut off" => {
            for _ in 0..5 {
                platform.proxy("acquirer").cut();
                a_while().await;
                platform.proxy("acquirer").repair();
                a_while().await;
            }
        }
        _ => {
            let faults = json!({"delay_ms": 50, "error_pct": 20, "reset_pct": 20, "hang_pct": 5, "rate_limit_pct": 20, "next_calls": 60});
            platform.switch_faults("acquirer", faults).await?;
        }
    }
    Ok(())
}

async fn place_all(demo: &Client) -> Result<Vec<u16>> {
    join_all((0..ORDERS).map(|_| place(demo))).await.into_iter().collect()
}

async fn place(demo: &Client) -> Result<u16> {
    let answer = demo.place(&key(), &order_of("case-dependencies", 1, "pm_ok")).await?;
    let status = answer.status.as_u16();
    ensure!([201, 202, 503].contains(&status), "{status} {}", answer.body);
    Ok(status)
}
