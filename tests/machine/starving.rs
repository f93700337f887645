//! Too little processor time: a participant in the same process is as slow as its callers are, and is not cut off for it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use amends::client::order_of;
use amends_tests::{check::key, kit::report::accepted_again, platform::Platform};
use anyhow::{Result, ensure};
use futures::future::join_all;

use crate::support::{confirmed, on};

/// Stopped for longer than the 500 ms that an attempt has between two processes.
const WITHOUT_TIME: Duration = Duration::from_millis(700);
const WITH_TIME: Duration = Duration::from_millis(150);
const CUSTOMERS: usize = 8;

/// The process is stopped and continued, again and again: all its timers run out at once, and no participant has failed.
pub(crate) async fn a_process_without_processor_time_opens_no_breaker() -> Result<()> {
    on(Platform::embedded().await?, async |platform| {
        let demo = platform.demo().await?;
        confirmed(&demo).await?;
        let customers = join_all((0..CUSTOMERS).map(|_| async {
            let mut refused = Vec::new();
            for _ in 0..8 {
                let answer = demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?;
                if ![201, 202].contains(&answer.status.as_u16()) {
                    refused.push(format!("{} {}", answer.status, answer.body));
                }
            }
            anyhow::Ok(refused)
        }));
        let pulses = async {
            for _ in 0..12 {
                platform.signal("amends", "STOP").await?;
                tokio::time::sleep(WITHOUT_TIME).await;
                platform.signal("amends", "CONT").await?;
                tokio::time::sleep(WITH_TIME).await;
            }
            anyhow::Ok(())
        };
        let (customers, pulses) = tokio::join!(customers, pulses);
        pulses?;
        let gone = Instant::now();
        for refused in customers {
            let refused = refused?;
            ensure!(refused.is_empty(), "orders were refused for want of time: {refused:?}");
        }
        breaker_never_opened(platform).await?;
        accepted_again("a process stopped and continued", &demo, gone).await.map(drop)
    })
    .await
}

/// Enough programs that do nothing but count, at the same priority, to leave a fifth of the processors at the most. A store may
/// take longer than its bound then, which is a 503 of its own; but no participant is cut off.
pub(crate) async fn orders_are_taken_with_the_processors_taken() -> Result<()> {
    on(Platform::embedded().await?, async |platform| {
        let demo = platform.demo().await?;
        confirmed(&demo).await?;
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let hogs = Hogs::start(processors * 4)?;
        let begun = Instant::now();
        let (mut accepted, mut late, mut refused) = (0_usize, 0_usize, Vec::new());
        while begun.elapsed() < Duration::from_secs(30) {
            let placed = (0..CUSTOMERS).map(|_| {
                let demo = &demo;
                async move { demo.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await }
            });
            for answer in join_all(placed).await {
                match answer {
                    Ok(answer) if [201, 202].contains(&answer.status.as_u16()) => accepted += 1,
                    Ok(answer) if answer.text("/code") == "store_unavailable" => late += 1,
                    Ok(answer) => refused.push(format!("{} {}", answer.status, answer.body)),
                    Err(error) => refused.push(format!("{error:#}")),
                }
            }
        }
        drop(hogs);
        accepted_again("all processors taken", &demo, Instant::now()).await?;
        ensure!(refused.is_empty(), "{} of {} refused: {refused:?}", refused.len(), accepted + late + refused.len());
        ensure!(accepted > late, "{accepted} orders were accepted, and to {late} the store answered too late");
        breaker_never_opened(platform).await
    })
    .await
}

async fn breaker_never_opened(platform: &Platform) -> Result<()> {
    let client = service_base::client::internal().build()?;
    let url = format!("http://{}/metrics", platform.admin_address("amends")?);
    let page = client.get(url).send().await?.text().await?;
    let opened: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("circuit_breaker_transitions_total") && line.contains(r#"reason="open""#))
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    ensure!(opened.is_empty(), "a breaker opened within one process: {opened:?}");
    Ok(())
}

/// Ended, each by its own id, when dropped.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start(count: usize) -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            hogs.0.push(command.spawn()?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ended = (hog.kill(), hog.wait());
        }
    }
}
