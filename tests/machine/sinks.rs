//! Where output goes: pipes that are not read, and proxies that the environment names.

use std::time::{Duration, Instant};

use amends_tests::{
    kit::{recorder::Recorder, report::accepted_again},
    platform::{Platform, Setup},
    process::{Launch, Output},
    shoppers::Shoppers,
};
use anyhow::{Result, ensure};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::support::{confirmed, on, readyz, sound};

/// A pipe holds 64 KiB: this number of orders writes a multiple of it.
const ORDERS: usize = 120;

/// Standard output and standard error are pipes that are open and not read, as before `| sleep 1000`.
pub(crate) async fn unread_pipes_block_nothing() -> Result<()> {
    let launch = Launch { output: Output::UnreadPipes, ..Launch::default() };
    let settings = json!({"telemetry": {"log_format": "bunyan", "filter": "debug,hyper=info,h2=info,sqlx=info"}});
    let mut platform = Platform::embedded_as(Setup { settings, launch, ..Setup::default() }).await?;
    let mut random = StdRng::seed_from_u64(4);
    let demo = platform.demo().await?;
    let shoppers = Shoppers::send(vec![demo.clone()], ORDERS, &mut random);
    shoppers.all_answered().await?.summary()?;
    ensure!(readyz(&platform).await?.0 == 200, "it has taken {ORDERS} orders and is not ready");
    accepted_again("pipes that nobody reads (the fault goes on)", &demo, Instant::now()).await?;
    sound(&platform).await?;
    let begun = Instant::now();
    let code = platform.terminate("amends", Duration::from_secs(30)).await?;
    ensure!(code == Some(0), "SIGTERM ended it with {code:?} after {:?}", begun.elapsed());
    Ok(())
}

/// Every variable that names a proxy, once with one that listens and once with one that does not.
pub(crate) async fn proxies_of_the_environment_hear_nothing() -> Result<()> {
    let recorder = Recorder::start().await?;
    for proxy in [format!("http://{}", recorder.address), "http://127.0.0.1:9".to_owned()] {
        let mut launch = Launch::default();
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            launch = launch.env(name, proxy.clone());
        }
        on(Platform::embedded_as(Setup { launch, ..Setup::default() }).await?, async |platform| {
            let demo = platform.demo().await?;
            for _ in 0..3 {
                confirmed(&demo).await?;
            }
            let heard = recorder.heard().await;
            ensure!(heard.is_empty(), "the proxy was told:\n{}", heard.join("\n"));
            Ok(())
        })
        .await?;
    }
    let heard = recorder.heard().await;
    ensure!(heard.is_empty(), "the proxy was told:\n{}", heard.join("\n"));
    Ok(())
}
