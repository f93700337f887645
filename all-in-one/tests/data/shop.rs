//! A data directory, and the program on it: started on free ports, ended by its own id.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use amends_primitives::IdSource as _;

pub(crate) const PASSWORD: &str = "demo-password-of-a-test";
/// Generous, since a busy machine is no failure; waited for only as long as needed.
const PATIENCE: Duration = Duration::from_mins(2);

const FREE_PORTS: [&str; 7] = [
    "gateway.listen",
    "identity.http.listen",
    "order.http.listen",
    "order.grpc.listen",
    "payment.grpc.listen",
    "inventory.grpc.listen",
    "admin.listen",
];

/// A directory, with room beside the data for copies and backups.
pub(crate) struct Shop {
    root: tempfile::TempDir,
}

/// A server on it.
pub(crate) struct Server {
    child: Child,
    addresses: PathBuf,
    log: PathBuf,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::Builder::new().prefix("amends-it-").tempdir().unwrap() }
    }

    /// A path beside the data.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts a server on `data`, without waiting.
    pub(crate) fn spawn(&self, data: &Path) -> Server {
        let name = amends_primitives::RandomIds.next_id();
        let (addresses, log) = (self.path(&format!("addresses-{name}.json")), self.path(&format!("{name}.log")));
        let output = File::create(&log).unwrap();
        let child = up(data)
            .arg("--addresses")
            .arg(&addresses)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Server { child, addresses, log }
    }

    /// Starts a server on `data` and waits until it is ready.
    pub(crate) async fn start_on(&self, data: &Path) -> Server {
        let mut server = self.spawn(data);
        server.ready().await;
        server
    }

    /// Starts a server on `data` that must end by itself, and not well; what it said.
    pub(crate) fn start_refused(&self, data: &Path) -> String {
        let mut server = self.spawn(data);
        let ended = server.wait();
        assert!(!ended.success(), "{}", server.log());
        server.log()
    }

    pub(crate) async fn start(&self) -> Server {
        self.start_on(&self.data()).await
    }
}

/// `amends up` on a directory, all listeners on free ports.
fn up(data: &Path) -> Command {
    let mut command = amends(&["up"]);
    command.arg("--data-dir").arg(data).env("AMENDS_DEMO_PASSWORD", PASSWORD);
    for key in FREE_PORTS {
        command.args(["--set", &format!("{key}=127.0.0.1:0")]);
    }
    command.args(["--set", "gateway.rate_limit.enabled=false"]);
    command
}

pub(crate) fn amends(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command on a directory to its end.
pub(crate) fn run(verb: &[&str], data: &Path) -> Output {
    amends(verb).arg("--data-dir").arg(data).output().unwrap()
}

/// What a command printed, on both streams.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Keeps the acquirer's books in a folder as earlier versions did: beside the payments.
pub(crate) fn keep_books_as_before(folder: &Path) {
    let acquirer = folder.join("acquirer.db");
    let payments = rusqlite::Connection::open(folder.join("payment.db")).unwrap();
    let sql = format!(
        "ATTACH '{}' AS acquirer;
         CREATE TABLE simulated_processor (idempotency_key TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, line TEXT NOT NULL);
         INSERT INTO simulated_processor SELECT idempotency_key, version, line FROM acquirer.acquirer_lines;
         CREATE TABLE _simulated_processor_migrations (version BIGINT, success BOOLEAN);",
        acquirer.display()
    );
    payments.execute_batch(&sql).unwrap();
    let moved: i64 = payments.query_row("SELECT COUNT(*) FROM simulated_processor", [], |row| row.get(0)).unwrap();
    assert!(moved > 0);
    drop(payments);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _gone = std::fs::remove_file(folder.join(format!("acquirer.db{suffix}")));
    }
    assert!(!acquirer.exists());
}

/// Runs the audit, which must find nothing.
pub(crate) fn audit_clean(data: &Path) {
    let audited = run(&["audit"], data);
    assert!(audited.status.success(), "{}", said(&audited));
}

impl Server {
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where its listeners are.
    pub(crate) fn addresses(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&self.addresses).unwrap()).unwrap()
    }

    pub(crate) async fn ready(&mut self) {
        let client = service_base::client::internal().timeout(Duration::from_secs(5)).build().unwrap();
        let begun = Instant::now();
        loop {
            if self.addresses.exists() {
                let url = format!("http://{}/readyz", self.addresses()["admin"].as_str().unwrap());
                if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "it is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The demo user, logged in.
    pub(crate) async fn demo(&self) -> Client {
        let gateway = self.addresses()["gateway"].as_str().unwrap().parse().unwrap();
        Client::new(gateway).unwrap().log_in("demo", PASSWORD).await.unwrap()
    }

    /// As a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// By SIGTERM; it must end by itself.
    pub(crate) fn stop(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let ended = self.wait();
        assert!(ended.success(), "{ended}:\n{}", self.log());
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By its own id; it may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Places an order; its id and its status. As clients do, an answer that is not the last word (202, 503) is asked for again under the
/// same key: a busy machine is no failure. `None` once the server is gone.
pub(crate) async fn place(demo: &Client) -> Option<(String, String)> {
    let key = amends_primitives::RandomIds.next_id().to_string();
    let begun = Instant::now();
    loop {
        let answer = demo.place(&key, &order_of("espresso-1kg", 1, "pm_ok")).await.ok()?;
        match answer.status.as_u16() {
            201 => return Some((answer.text("/id").to_owned(), answer.text("/status").to_owned())),
            202 | 429 | 503 if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => panic!("{} {}", answer.status, answer.body),
        }
    }
}

/// Places orders one after the other; all must be confirmed.
pub(crate) async fn place_confirmed(demo: &Client, count: usize) -> Vec<String> {
    let mut placed = Vec::new();
    for _ in 0..count {
        let (id, status) = place(demo).await.expect("an order");
        assert_eq!(status, "confirmed");
        placed.push(id);
    }
    placed
}

/// Each of these orders is there, and confirmed.
pub(crate) async fn expect_confirmed(demo: &Client, orders: &[String]) {
    for order in orders {
        let answer = demo.get(&format!("/v1/orders/{order}")).await.unwrap();
        assert_eq!(answer.text("/status"), "confirmed", "{order}: {} {}", answer.status, answer.body);
    }
}
