//! A whole Amends to be tested from outside: in one process, or as five on servers.

mod books;
mod distributed;
mod embedded;
mod login;
mod settings;
mod statement;
mod telemetry;

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
    process::{Launch, Process, eventually, program},
    proxy::Proxy,
};

pub use distributed::PROGRAMS;
pub use embedded::Setup;
pub use telemetry::spans_are_as_registered;

/// Migrations, key generation and an Argon2 hash for each user, in a debug build on a busy machine.
const START_MAX: Duration = Duration::from_mins(1);
/// In-flight sagas settle or are handed over within a bounded time; this is more.
const STOP_MAX: Duration = Duration::from_secs(30);

/// One program: how to start it, and where it says that it is ready.
struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<String>,
    launch: Launch,
    admin: SocketAddr,
    process: Option<Process>,
}

/// What came of starting a program that may not be able to start.
#[derive(Debug)]
pub enum Start {
    /// It says that it is ready.
    Ready,
    /// It has ended by itself.
    Ended {
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// How long after it was started.
        after: Duration,
        /// The last of what it printed.
        said: String,
    },
    /// It runs and is not ready.
    Neither {
        /// The last of what it printed.
        said: String,
    },
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
    /// The data directory, where all is one process.
    data: Option<PathBuf>,
    /// The inventory service's database.
    pub inventory_database: String,
    payment_database: String,
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

    /// Starts a program again, and does not wait until it is ready.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let dir = self.dir.path().to_path_buf();
        self.program_mut(name)?.start(&dir)
    }

    /// Waits until a program that was started is ready.
    pub async fn ready(&self, name: &str) -> Result<()> {
        let program = self.programs.iter().find(|program| program.name == name);
        program.with_context(|| format!("no program {name}"))?.ready().await
    }

    /// Starts a program that may not be able to: whether it is ready within `bound`, or has ended before, and with which code.
    pub async fn try_start(&mut self, name: &str, bound: Duration) -> Result<Start> {
        let dir = self.dir.path().to_path_buf();
        let program = self.program_mut(name)?;
        program.start(&dir)?;
        program.ready_or_ended(bound).await
    }

    /// Changes how a program is started from now on.
    pub fn relaunch_as(&mut self, name: &str, launch: Launch) -> Result<()> {
        self.program_mut(name)?.launch = launch;
        Ok(())
    }

    /// Asks one program to end; its exit code.
    ///
    /// # Errors
    /// When it does not end within `bound`.
    pub async fn terminate(&mut self, name: &str, bound: Duration) -> Result<Option<i32>> {
        match &mut self.program_mut(name)?.process {
            Some(process) => process.stop(bound).await,
            None => anyhow::bail!("{name} does not run"),
        }
    }

    /// Whether a program runs.
    pub fn is_running(&mut self, name: &str) -> bool {
        let process = self.program_mut(name).ok().and_then(|program| program.process.as_mut());
        process.is_some_and(|process| !process.has_ended())
    }

    /// The id of a program's process.
    pub fn process_id(&self, name: &str) -> Option<u32> {
        let program = self.programs.iter().find(|program| program.name == name)?;
        program.process.as_ref()?.id()
    }

    /// Where everything is kept, where all is one process.
    ///
    /// # Panics
    /// Where it is not.
    pub fn data(&self) -> &std::path::Path {
        self.data.as_deref().expect("a data directory is of a platform in one process")
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
        self.switch_faults_in(name, name, faults).await
    }

    /// Switches the faults of one section in a program that has several.
    ///
    /// # Errors
    /// When it does not accept them.
    pub async fn switch_faults_in(&self, name: &str, section: &str, faults: serde_json::Value) -> Result<()> {
        let program = self.programs.iter().find(|program| program.name == name).context("no such program")?;
        let client = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
        let body = serde_json::json!({ section: faults });
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

    /// The payment service's database: its URL; of MongoDB's, the database's name follows after a blank.
    pub fn payment_database(&self) -> &str {
        &self.payment_database
    }

    /// The acquirer's ledger.
    pub fn acquirer_ledger(&self) -> PathBuf {
        self.data.as_deref().unwrap_or_else(|| self.dir.path()).join("acquirer.db")
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
        let on_stores: Vec<&str> = arguments.iter().copied().chain(self.stores.iter().map(String::as_str)).collect();
        self.run_amends(&on_stores).await
    }

    /// The same with these arguments alone.
    ///
    /// # Errors
    /// When the program cannot be run at all.
    pub async fn run_amends(&self, arguments: &[&str]) -> Result<Result<String, String>> {
        let output = tokio::process::Command::new(program("amends"))
            .args(arguments)
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
        // The token service first: the order service answers 503 until it has a token of its own, and is ready meanwhile.
        let is_first = |program: &Program| program.name.starts_with("identity");
        for turn in [true, false] {
            for program in self.programs.iter_mut().filter(|program| is_first(program) == turn) {
                program.start(self.dir.path())?;
            }
            for program in self.programs.iter().filter(|program| is_first(program) == turn) {
                if let Err(error) = program.ready().await {
                    return Err(error.context(self.logs()));
                }
            }
        }
        Ok(())
    }
}

impl Program {
    fn new(name: &str, path: PathBuf, arguments: Vec<String>, admin: SocketAddr) -> Self {
        Self { name: name.to_owned(), path, arguments, launch: Launch::default(), admin, process: None }
    }

    fn start(&mut self, dir: &std::path::Path) -> Result<()> {
        self.process = Some(Process::start(&self.name, &self.path, &self.arguments, &self.launch, dir)?);
        Ok(())
    }

    async fn ready_or_ended(&mut self, bound: Duration) -> Result<Start> {
        let probe = service_base::client::internal().timeout(Duration::from_secs(3)).build()?;
        let (url, begun) = (format!("http://{}/readyz", self.admin), Instant::now());
        while begun.elapsed() < bound {
            let Some(process) = &mut self.process else { anyhow::bail!("{} was not started", self.name) };
            if process.has_ended() {
                let code = process.ended(Duration::from_secs(1)).await?;
                return Ok(Start::Ended { code, after: begun.elapsed(), said: process.tail() });
            }
            if probe.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Start::Ready);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Start::Neither { said: self.process.as_ref().map(Process::tail).unwrap_or_default() })
    }

    async fn ready(&self) -> Result<()> {
        let probe = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
        let url = format!("http://{}/readyz", self.admin);
        eventually(&format!("{} is ready", self.name), START_MAX, || async {
            probe.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await
    }
}
