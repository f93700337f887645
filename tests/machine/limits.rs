//! File descriptors: taken by idle connections, and too few from the start.

use std::time::{Duration, Instant};

use amends_tests::{
    kit::{
        flood::{ELSEWHERE, idle_connections},
        report::{accepted_again, not_run},
    },
    platform::{Platform, Setup, Start},
    process::Launch,
};
use anyhow::{Context, Result, bail, ensure};

use crate::support::{confirmed, on, readyz, readyz_is};

const IDLE: usize = 1_100;
/// Too little is said in this time.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// A thousand and one hundred connections that say nothing, to a process whose limit is 1,024: the soft one, then the hard one as well.
pub(crate) async fn idle_connections_leave_room_for_orders() -> Result<()> {
    // This process needs as many.
    service_base::descriptors::raise_limit();
    for limit in ["ulimit -Sn 1024", "ulimit -n 1024"] {
        let launch = Launch::default().after_shell(limit);
        on(Platform::embedded_as(Setup { launch, ..Setup::default() }).await?, async |platform| {
            let demo = platform.demo().await?;
            confirmed(&demo).await?;
            let idle = idle_connections(ELSEWHERE, platform.gateway, IDLE).await;
            if idle.len() < IDLE / 2 {
                not_run(limit, format!("only {} of {IDLE} connections could be made", idle.len()));
                return Ok(());
            }
            for _ in 0..5 {
                confirmed(&demo).await.with_context(|| format!("{limit}, {} idle connections", idle.len()))?;
                let (status, body) = readyz(platform).await?;
                ensure!(status == 200, "{limit}: /readyz says {status}: {body}");
            }
            drop(idle);
            let gone = Instant::now();
            accepted_again(&format!("{IDLE} idle connections ({limit})"), &platform.log_in_anew("demo").await?, gone)
                .await?;
            readyz_is(platform, 200, Duration::from_secs(10)).await
        })
        .await?;
    }
    Ok(())
}

/// With a hard limit that is too low it either says so and ends, or serves.
pub(crate) async fn too_few_descriptors_are_said_at_start() -> Result<()> {
    for limit in [24, 40, 64, 128] {
        let launch = Launch::default().after_shell(&format!("ulimit -n {limit}"));
        let mut platform = Platform::embedded_unstarted(Setup { launch, ..Setup::default() })?;
        match platform.try_start("amends", SAID_WITHIN).await? {
            Start::Ended { code, said, .. } => {
                ensure!(code != Some(0), "it ended well with {limit} descriptors");
                ensure!(said.contains("ulimit -n"), "with {limit} descriptors it does not say what to type: {said}");
                ensure!(said.contains(&limit.to_string()), "it does not name its limit of {limit}: {said}");
            }
            Start::Ready => {
                let demo = platform.demo().await.with_context(|| format!("it is ready with {limit} descriptors"))?;
                for _ in 0..20 {
                    confirmed(&demo).await.with_context(|| format!("it is ready with {limit} descriptors"))?;
                }
                platform.stop().await?;
            }
            Start::Neither { said } => bail!("with {limit} descriptors it neither serves nor says why: {said}"),
        }
    }
    // A soft limit alone is raised.
    let launch = Launch::default().after_shell("ulimit -Sn 64");
    on(Platform::embedded_as(Setup { launch, ..Setup::default() }).await?, async |platform| {
        confirmed(&platform.demo().await?).await.map(drop)
    })
    .await
}
