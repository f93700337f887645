//! What the tests share: the three questions at the end, and failures that show what the program said.

use std::time::{Duration, Instant};

use amends::client::{Client, order_of};
use amends_tests::{
    check::{expect, key},
    direct,
    kit::report::not_run,
    platform::Platform,
    process::eventually,
    shoppers::Refusals,
};
use anyhow::{Context, Result, ensure};

/// Runs a case on a platform, asks the three questions, and stops it. A failure shows what its programs said last.
pub(crate) async fn on(mut platform: Platform, case: impl AsyncFnOnce(&mut Platform) -> Result<()>) -> Result<()> {
    let done = async {
        case(&mut platform).await?;
        sound(&platform).await
    };
    if let Err(error) = done.await {
        anyhow::bail!("{error:#}\n\n{}", platform.logs());
    }
    platform.stop().await
}

/// Everything has settled, the audit is clean, and the rows agree.
pub(crate) async fn sound(platform: &Platform) -> Result<()> {
    platform.settled().await?;
    platform.audit().await?;
    direct::books_agree(platform).await?;
    Ok(())
}

/// What a fault is, or `None` and a line in the list of what did not run.
pub(crate) fn here<T>(test: &str, fault: Result<T, String>) -> Option<T> {
    fault.map_err(|why| not_run(test, why)).ok()
}

/// One order that must be confirmed.
pub(crate) async fn confirmed(customer: &Client) -> Result<String> {
    let placed = customer.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?;
    expect(&placed, 201, "/status", "confirmed")?;
    Ok(placed.text("/id").to_owned())
}

/// What `/readyz` says: the status, and the body.
pub(crate) async fn readyz(platform: &Platform) -> Result<(u16, String)> {
    let client = service_base::client::internal().timeout(Duration::from_secs(10)).build()?;
    let url = format!("http://{}/readyz", platform.admin_address("amends")?);
    let answer = client.get(url).send().await.context("/readyz does not answer")?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Waits until `/readyz` answers with that status.
pub(crate) async fn readyz_is(platform: &Platform, status: u16, bound: Duration) -> Result<()> {
    let what = format!("/readyz is {status}");
    eventually(&what, bound, || async { readyz(platform).await.is_ok_and(|(seen, _)| seen == status) }).await
}

/// While a store is away customers are told 503 and when to come back, and nothing else.
pub(crate) fn only_bounded_refusals(refusals: &Refusals) -> Result<()> {
    let strange: Vec<_> = refusals.by_status.keys().filter(|status| ![202, 503].contains(*status)).collect();
    ensure!(strange.is_empty(), "customers were also told {strange:?}: {refusals:?}");
    ensure!(refusals.without_retry_after == 0, "503 without Retry-After: {refusals:?}");
    Ok(())
}

/// Asks until the bound for a sign that a fault has been noticed.
pub(crate) async fn until<F: Future<Output = Result<bool>>>(
    what: &str,
    bound: Duration,
    mut noticed: impl FnMut() -> F,
) -> Result<()> {
    let begun = Instant::now();
    while !noticed().await? {
        ensure!(begun.elapsed() < bound, "waited {bound:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
