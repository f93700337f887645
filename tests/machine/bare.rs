//! `amends up` as a user types it: its own secrets, its own catalogue, and no configuration but what the test is about.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use amends::client::Client;
use amends_tests::process::{Launch, Process, eventually, free_port, program};
use anyhow::{Result, ensure};
use tempfile::TempDir;

const PASSWORD: &str = "a password for tests only";
const START_MAX: Duration = Duration::from_mins(1);

/// One instance, with a folder of its own.
pub(crate) struct Bare {
    pub(crate) gateway: SocketAddr,
    admin: SocketAddr,
    process: Process,
    dir: TempDir,
}

impl Bare {
    /// Starts it with `--set gateway.listen --set admin.listen`, with these arguments besides, and waits until it is ready.
    pub(crate) async fn start(more: &[String]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("amends-bare-").tempdir()?;
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (gateway, admin) = (port(), port());
        let mut arguments = vec!["up".to_owned(), "--data-dir".to_owned(), data(dir.path()).display().to_string()];
        for (key, address) in [("gateway.listen", gateway), ("admin.listen", admin)] {
            arguments.extend(["--set".to_owned(), format!("{key}={address}")]);
        }
        arguments.extend_from_slice(more);
        let launch = Launch::default().env("AMENDS_DEMO_PASSWORD", PASSWORD);
        let process = Process::start("amends", &program("amends"), &arguments, &launch, dir.path())?;
        let mut bare = Self { gateway, admin, process, dir };
        bare.ready().await?;
        Ok(bare)
    }

    async fn ready(&mut self) -> Result<()> {
        let probe = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
        let url = format!("http://{}/readyz", self.admin);
        let ready = eventually("a bare `amends up` is ready", START_MAX, || async {
            probe.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        });
        let ready = tokio::select! {
            ready = ready => ready,
            code = self.process.ended(START_MAX * 2) => code.and_then(|code| anyhow::bail!("it ended with {code:?}")),
        };
        ready.map_err(|error| anyhow::anyhow!("{error:#}\n{}", self.process.tail()))
    }

    /// The demo user, logged in.
    pub(crate) async fn demo(&self) -> Result<Client> {
        Client::new(self.gateway)?.log_in("demo", PASSWORD).await
    }

    /// Audits its books and stops it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let audit = tokio::process::Command::new(program("amends"))
            .args(["audit", "--data-dir"])
            .arg(data(self.dir.path()))
            .output()
            .await?;
        ensure!(audit.status.success(), "the audit found: {}", String::from_utf8_lossy(&audit.stdout));
        let code = self.process.stop(Duration::from_secs(30)).await?;
        ensure!(code == Some(0), "it ended with {code:?}:\n{}", self.process.tail());
        Ok(())
    }

    /// The last of what it printed.
    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}
