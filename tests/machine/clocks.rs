//! Wall clocks that are set, while sagas wait, callers are counted, and keys are younger than the clock says.

use std::time::{Duration, Instant};

use amends::client::order_of;
use amends_tests::{
    check::key,
    kit::{
        clock::WallClock,
        report::{accepted_again, healed},
    },
    platform::{Platform, Setup},
    process::{Launch, eventually},
};
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{confirmed, here, on};

const HOUR_SECS: i64 = 3600;
/// The longest pause between two attempts is a minute; a wait of an hour is far beyond.
const GOES_ON_MAX: Duration = Duration::from_secs(90);

fn clocked(test: &str, settings: Value) -> Result<Option<(WallClock, Setup, TempDir)>> {
    let dir = tempfile::Builder::new().prefix("amends-clock-").tempdir()?;
    let Some(clock) = here(test, WallClock::right(dir.path())) else { return Ok(None) };
    let launch = clock.in_launch(Launch::default());
    Ok(Some((clock, Setup { settings, launch, ..Setup::default() }, dir)))
}

/// Refunds that wait for the payment service go on within their own pauses, whatever the clock says.
pub(crate) async fn sagas_go_on_when_the_clock_is_set_back() -> Result<()> {
    const TEST: &str = "sagas that wait while the clock is set back";
    let Some((clock, setup, _dir)) = clocked(TEST, json!({"gateway": {"rate_limit": {"enabled": false}}}))? else {
        return Ok(());
    };
    on(Platform::embedded_as(setup).await?, async |platform| {
        let demo = platform.demo().await?;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(confirmed(&demo).await?);
        }
        platform.switch_faults_in("amends", "payment", json!({"error_pct": 100})).await?;
        for order in &waiting {
            let cancel = demo.request(Method::POST, &format!("/v1/orders/{order}/cancel"));
            let answer = demo.send(cancel.header("prefer", "respond-async")).await?;
            ensure!([202, 503].contains(&answer.status.as_u16()), "cancel: {} {}", answer.status, answer.body);
        }
        // Several attempts each, so that what they wait for is as long as it gets in a test.
        tokio::time::sleep(Duration::from_secs(5)).await;
        clock.set(-HOUR_SECS)?;
        platform.switch_faults_in("amends", "payment", json!({})).await?;
        let gone = Instant::now();
        let customer = platform.log_in_anew("demo").await.context("a log-in after the clock was set back")?;
        eventually("the cancelled orders settle", GOES_ON_MAX, || async {
            for order in &waiting {
                let read = customer.get(&format!("/v1/orders/{order}")).await;
                if !read.is_ok_and(|read| read.text("/status") == "cancelled") {
                    return false;
                }
            }
            true
        })
        .await?;
        healed(TEST, gone.elapsed());
        accepted_again("a clock set back an hour", &customer, gone).await?;
        platform.forget_log_ins().await;
        Ok(())
    })
    .await
}

/// A caller who was refused is let in again when it was told, whatever the clock says.
pub(crate) async fn rate_limits_go_on_when_the_clock_is_set_back() -> Result<()> {
    const TEST: &str = "rate limits while the clock is set back";
    let few = json!({"per_second": 5, "burst": 10});
    let settings = json!({"gateway": {"rate_limit": {"enabled": true, "address": few, "subject": few}}});
    let Some((clock, setup, _dir)) = clocked(TEST, settings)? else { return Ok(()) };
    let mut platform = Platform::embedded_as(setup).await?;
    let mut offset = 0;
    for step in [30, 600, HOUR_SECS] {
        let demo = platform.demo().await?;
        let mut told = None;
        for _ in 0..200 {
            let answer = demo.get("/v1/orders?limit=1").await?;
            if answer.status == 429 {
                told = Some(answer.header("retry-after").parse::<u64>().context("429 without Retry-After")?);
                break;
            }
        }
        let told = told.context("200 requests at once, and none was refused")?;
        offset -= step;
        clock.set(offset)?;
        let gone = Instant::now();
        let what = format!("requests are let in again after a step of {step} s");
        // What it was told, and a second more for the rounding of it.
        let bound = Duration::from_secs(told + 5);
        eventually(&what, bound, || async {
            demo.get("/v1/orders?limit=1").await.is_ok_and(|answer| answer.status != 429)
        })
        .await?;
        healed(&format!("{TEST}, {step} s"), gone.elapsed());
        platform.forget_log_ins().await;
    }
    platform.terminate("amends", Duration::from_secs(30)).await?;
    platform.amends(&["audit"]).await?.map_err(anyhow::Error::msg)?;
    Ok(())
}

/// Restarted with a clock that is two hours behind the moment at which its only signing key was published.
pub(crate) async fn a_start_before_the_key_was_made_takes_orders() -> Result<()> {
    const TEST: &str = "a start before the signing key was made";
    let Some((clock, setup, _dir)) = clocked(TEST, json!({}))? else { return Ok(()) };
    on(Platform::embedded_as(setup).await?, async |platform| {
        confirmed(&platform.demo().await?).await?;
        platform.terminate("amends", Duration::from_secs(30)).await?;
        clock.set(-2 * HOUR_SECS)?;
        let gone = Instant::now();
        platform.restart("amends").await?;
        platform.forget_log_ins().await;
        let demo = platform.demo().await.context("a log-in")?;
        let placed = demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?;
        ensure!(placed.status == 201, "a key that signs is not published: {} {}", placed.status, placed.body);
        accepted_again(TEST, &demo, gone).await?;
        Ok(())
    })
    .await
}
