//! A whole Amends to be tested from outside: in one process, or as five on servers.

mod books;
mod distributed;
mod embedded;
mod login;
mod settings;
mod statement;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use amends::client::Client;
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::sync::Mutex;

pub use settings::PASSWORD;

use crate::{
    process::{Process, eventually, program},
    proxy::Proxy,
};

/// Migrations, key generation and an Argon2 hash for each user, in a debug build on a busy machine.
const START_MAX: Duration = Duration::from_mins(1);
/// In-flight sagas settle or are handed over within a bounded time; this is more.
const STOP_MAX: Duration = Duration::from_secs(30);

/// One program: how to start it, and where it says that it is ready.
struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<String>,
    admin: SocketAddr,
    process: Option<Process>,
}

/// A running Amends.
pub struct Platform {
    /// The public address.
    pub gateway: SocketAddr,
    /// The payment service's gRPC address.
    pub payment: SocketAddr,
    /// The inventory service's gRPC address.
    pub inventory: SocketAddr,
    /// The acquirer's address, past its proxy; none where the processor is simulated in the payment service.
    acquirer: Option<SocketAddr>,
    /// The REST addresses of the order service's replicas, which verify tokens themselves; empty where all is one process.
    pub orders: Vec<SocketAddr>,
    /// The order service's database.
    pub order_database: String,
    dir: TempDir,
    programs: Vec<Program>,
    proxies: BTreeMap<&'static str, Proxy>,
    /// Flags with which `amends` finds the stores.
    stores: Vec<String>,
    identity_database: String,
    clients: Mutex<BTreeMap<String, (Client, Instant)>>,
}

impl Platform {
    /// Ends a program as a crash would.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        match &mut self.program_mut(name)?.process {
            Some(process) => process.kill().await,
            None => anyhow::bail!("{name} does not run"),
        }
    }

    /// Starts a program again and waits until it is ready.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        let dir = self.dir.path().to_path_buf();
        let program = self.program_mut(name)?;
        program.start(&dir)?;
        program.ready().await
    }

    /// Sends a signal to a program: `STOP`, `CONT`, `TERM`.
    pub async fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let program = self.programs.iter().find(|program| program.name == name);
        let process =
            program.and_then(|program| program.process.as_ref()).with_context(|| format!("{name} does not run"))?;
        process.signal(signal).await
    }

    /// Switches a program's faults, by its section's name.
    ///
    /// # Errors
    /// When it does not accept them.
    pub async fn switch_faults(&self, name: &str, faults: serde_json::Value) -> Result<()> {
        let program = self.programs.iter().find(|program| program.name == name).context("no such program")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let body = serde_json::json!({ name: faults });
        let answer = client.put(format!("http://{}/faults", program.admin)).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// The proxy before a server: `postgres`, `mongodb`, `redis` or `acquirer`.
    ///
    /// # Panics
    /// When this platform has no such server.
    pub fn proxy(&self, server: &str) -> &Proxy {
        &self.proxies[server]
    }

    /// Waits until no saga is at work.
    pub async fn settled(&self) -> Result<()> {
        let admin = self.admin().await?;
        eventually("every order settles", Duration::from_secs(90), || async {
            for status in ["pending", "cancelling"] {
                let page = admin.get(&format!("/v1/orders?limit=1&status={status}")).await;
                if !page.is_ok_and(|page| page.body["orders"].as_array().is_some_and(Vec::is_empty)) {
                    return false;
                }
            }
            true
        })
        .await
    }

    /// Reconciles the stores with the operator's own tool, and the payments with the acquirer's statement, where there is one.
    ///
    /// # Errors
    /// With the tool's report, when the books do not balance; with both sides, when the statement is another.
    pub async fn audit(&self) -> Result<()> {
        self.amends(&["audit"]).await?.map_err(|report| anyhow::anyhow!("the audit found: {report}"))?;
        self.statement_agrees().await
    }

    /// Where a program serves operators: its metrics, its faults.
    ///
    /// # Errors
    /// When no program has that name.
    pub fn admin_address(&self, name: &str) -> Result<SocketAddr> {
        let program = self.programs.iter().find(|program| program.name == name);
        Ok(program.with_context(|| format!("no program {name}"))?.admin)
    }

    /// A service's SQLite database, where all is one process.
    pub fn embedded_database(&self, service: &str) -> String {
        self.order_database.replace("/order.db", &format!("/{service}.db"))
    }

    /// A service's SQL store, or the acquirer's, where each is a process of its own. Payments are in MongoDB.
    ///
    /// # Errors
    /// Where everything is one process.
    pub fn store_url(&self, service: &str) -> Result<String> {
        ensure!(self.acquirer.is_some(), "everything is one process: see embedded_database");
        Ok(match service {
            "acquirer" => format!("sqlite://{}?mode=rwc", self.dir.path().join("acquirer.db").display()),
            service => self.order_database.replace("/amends_order_", &format!("/amends_{service}_")),
        })
    }

    /// Runs the operator's command line on this platform's stores. What it printed; as an error, when it did not exit with 0.
    ///
    /// # Errors
    /// When the program cannot be run at all.
    pub async fn amends(&self, arguments: &[&str]) -> Result<Result<String, String>> {
        let output = tokio::process::Command::new(program("amends"))
            .args(arguments)
            .args(&self.stores)
            .current_dir(self.dir.path())
            .output()
            .await?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(if output.status.success() { Ok(printed) } else { Err(printed + &String::from_utf8_lossy(&output.stderr)) })
    }

    /// Stops every program in an orderly way; each must end by itself, with exit code 0, within a bound.
    pub async fn stop(mut self) -> Result<()> {
        for program in &mut self.programs {
            if let Some(process) = &mut program.process {
                let code = process.stop(STOP_MAX).await?;
                ensure!(code == Some(0), "{} ended with {code:?}:\n{}", program.name, process.tail());
                let output = process.output();
                ensure!(!output.contains("panicked at"), "{} panicked:\n{}", program.name, output);
            }
        }
        Ok(())
    }

    /// The last lines of every program, for a failure message.
    pub fn logs(&self) -> String {
        let tails = self.programs.iter().filter_map(|program| Some((&program.name, program.process.as_ref()?.tail())));
        tails.fold(String::new(), |logs, (name, tail)| logs + "──── " + name + "\n" + &tail + "\n")
    }

    /// All that every program printed so far.
    pub fn output(&self) -> String {
        self.programs.iter().filter_map(|program| Some(program.process.as_ref()?.output())).collect()
    }

    fn program_mut(&mut self, name: &str) -> Result<&mut Program> {
        self.programs.iter_mut().find(|program| program.name == name).with_context(|| format!("no program {name}"))
    }

    async fn start_all(&mut self) -> Result<()> {
        for program in &mut self.programs {
            program.start(self.dir.path())?;
        }
        for program in &self.programs {
            if let Err(error) = program.ready().await {
                return Err(error.context(self.logs()));
            }
        }
        Ok(())
    }
}

impl Program {
    fn new(name: &str, path: PathBuf, arguments: Vec<String>, admin: SocketAddr) -> Self {
        Self { name: name.to_owned(), path, arguments, admin, process: None }
    }

    fn start(&mut self, dir: &std::path::Path) -> Result<()> {
        self.process = Some(Process::start(&self.name, &self.path, &self.arguments, &[], dir)?);
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let probe = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let url = format!("http://{}/readyz", self.admin);
        eventually(&format!("{} is ready", self.name), START_MAX, || async {
            probe.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await
    }
}
