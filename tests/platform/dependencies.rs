//! Dead dependencies: a bounded wait, a 503 problem with `Retry-After`, and recovery without a restart.

use std::time::{Duration, Instant};

use amends::client::{Client, order_of};
use amends_tests::{
    check::{expect, key},
    platform::Platform,
    process::eventually,
};
use anyhow::{Context, Result, ensure};

/// The default deadline of a caller is 5 s; the rest is for a busy machine.
const DEADLINE: Duration = Duration::from_secs(8);
const RECOVERY: Duration = Duration::from_mins(1);

/// Takes each dependency away in turn, once dead and once frozen, and gives it back.
pub(crate) async fn each_dependency_dies_and_returns(platform: &mut Platform) -> Result<()> {
    let demo = platform.demo().await?;
    for service in ["payment", "inventory"] {
        works(&demo).await.with_context(|| format!("before {service} dies"))?;
        platform.kill(service).await?;
        answers_503(&demo).await.with_context(|| format!("{service} is dead"))?;
        platform.restart(service).await?;
        recovers(&demo).await.with_context(|| format!("{service} is back"))?;

        platform.signal(service, "STOP").await?;
        let frozen = answers_503(&demo).await.with_context(|| format!("{service} is frozen"));
        platform.signal(service, "CONT").await?;
        frozen?;
        recovers(&demo).await.with_context(|| format!("{service} thawed"))?;
    }
    for server in ["postgres", "mongodb", "redis"] {
        works(&demo).await.with_context(|| format!("before {server} dies"))?;
        for stalled in [false, true] {
            let proxy = platform.proxy(server);
            if stalled {
                proxy.stall();
            } else {
                proxy.cut();
            }
            let died = answers_503(&demo).await.with_context(|| format!("{server} is dead, stalled: {stalled}"));
            platform.proxy(server).repair();
            died?;
            recovers(&demo).await.with_context(|| format!("{server} is back, stalled: {stalled}"))?;
        }
    }
    platform.settled().await?;
    platform.audit().await
}

async fn works(demo: &Client) -> Result<()> {
    expect(&demo.place(&key(), &order_of("case-dependencies", 1, "pm_ok")).await?, 201, "/status", "confirmed")
}

async fn answers_503(demo: &Client) -> Result<()> {
    for _ in 0..3 {
        let begun = Instant::now();
        let answer = demo.place(&key(), &order_of("case-dependencies", 1, "pm_ok")).await?;
        ensure!(answer.status.as_u16() == 503, "expected 503: {} {}", answer.status, answer.body);
        ensure!(!answer.text("/code").is_empty(), "not a problem: {}", answer.body);
        let retry_after = answer.header("retry-after");
        ensure!(retry_after.parse::<u32>().is_ok_and(|seconds| seconds >= 1), "Retry-After: {retry_after:?}");
        ensure!(begun.elapsed() < DEADLINE, "the answer took {:?}", begun.elapsed());
    }
    Ok(())
}

async fn recovers(demo: &Client) -> Result<()> {
    eventually("orders are confirmed again", RECOVERY, || async { works(demo).await.is_ok() }).await
}
