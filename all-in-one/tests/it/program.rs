//! `amends up` as a child process, ended by its own id.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use amends::client::{Client, order_of};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const PASSWORD: &str = "a-password-for-tests";
/// Longer than anything here takes; only a failure meets it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Program {
    child: Child,
    pub(crate) admin: SocketAddr,
    pub(crate) customer: Client,
    _dir: TempDir,
}

impl Program {
    /// Starts it with these for standard output and standard error, and waits until it serves.
    pub(crate) async fn start(stdout: impl Into<Stdio>, stderr: impl Into<Stdio>, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addresses = dir.path().join("addresses.json");
        let child = Command::new(env!("CARGO_BIN_EXE_amends"))
            .args(["up", "--set", "gateway.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"])
            .args(more.iter().flat_map(|set| ["--set", set]))
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .arg("--addresses")
            .arg(&addresses)
            .env("AMENDS_DEMO_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let written = async {
            loop {
                if let Ok(text) = tokio::fs::read(&addresses).await {
                    return serde_json::from_slice::<serde_json::Value>(&text).unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let addresses = tokio::time::timeout(PATIENCE, written).await.expect("it starts");
        let address = |name: &str| addresses[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
        let customer = Client::new(address("gateway")).unwrap();
        let customer =
            tokio::time::timeout(PATIENCE, customer.log_in("demo", PASSWORD)).await.expect("it serves").unwrap();
        Self { child, admin: address("admin"), customer, _dir: dir }
    }

    /// Places an order, which must be answered by what becomes of orders on a good day.
    pub(crate) async fn order(&self, key: &str) {
        let order = order_of("espresso-1kg", 1, "pm_ok");
        let answer =
            tokio::time::timeout(PATIENCE, self.customer.place(key, &order)).await.expect("it answers").unwrap();
        assert!(matches!(answer.status.as_u16(), 201 | 202 | 503), "{} {}", answer.status, answer.body);
    }

    /// The value of one of its metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let client = service_base::client::internal().timeout(PATIENCE).build().unwrap();
        let page = client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{page}")).parse().unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it lives").to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        drop(self.customer);
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }
}
