//! An acquirer on a port of its own, and a merchant.

use std::net::SocketAddr;

use acquirer::{Config, build, store::SqlLedger};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use service_kit::{Runtime, faults::Faults};
use tempfile::TempDir;

pub(crate) const SECRET: &str = "a-merchant-secret-for-tests";

pub(crate) struct Bank {
    pub(crate) faults: Faults,
    pub(crate) ledger: SqlLedger,
    address: SocketAddr,
    client: reqwest::Client,
    runtime: Runtime,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

pub(crate) fn config_in(dir: &TempDir) -> Config {
    let mut config = Config { secret: SECRET.into(), ..Config::default() };
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config.database.url = format!("sqlite://{}?mode=rwc", dir.path().join("acquirer.db").display()).into();
    // A machine that is busy compiling is slow.
    config.database.statement_timeout_ms = 20_000;
    config
}

impl Bank {
    pub(crate) async fn open(config: Config) -> Self {
        let runtime = Runtime::for_testing();
        let app = build(config, &runtime).await.unwrap();
        let (address, faults, ledger) = (app.addresses().http, app.faults().clone(), app.ledger().clone());
        let client = service_base::client::internal().build().unwrap();
        Self { faults, ledger, address, client, runtime, running: tokio::spawn(app.run()) }
    }

    pub(crate) async fn close(self) {
        drop(self.client);
        self.runtime.shutdown.trigger();
        self.running.await.unwrap().unwrap();
        assert!(self.runtime.shutdown.drained(std::time::Duration::from_secs(5)).await);
    }

    /// A request without a secret.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn try_post(&self, path: &str, key: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, path).bearer_auth(SECRET).json(body);
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        request.send().await
    }

    /// The status and the body.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        read(self.try_post(path, key, body).await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        read(self.request(Method::GET, path).bearer_auth(SECRET).send().await.unwrap()).await
    }

    pub(crate) async fn charge(&self, key: &str, minor: i64, method: &str) -> (u16, Value) {
        self.post("/v1/charges", key, &charge(minor, method)).await
    }

    /// Kind, key and amount of all that moved.
    pub(crate) async fn statement(&self) -> Vec<(String, String, i64)> {
        let (mut lines, mut after) = (Vec::new(), 0);
        loop {
            let (status, page) = self.get(&format!("/v1/movements?after={after}&limit=3")).await;
            assert_eq!(status, 200, "{page}");
            for line in page["movements"].as_array().unwrap() {
                let text = |field: &str| line[field].as_str().unwrap().to_owned();
                lines.push((text("kind"), text("key"), line["amount"]["amount_minor"].as_i64().unwrap()));
            }
            after = page["next"].as_i64().unwrap();
            if !page["more"].as_bool().unwrap() {
                return lines;
            }
        }
    }
}

pub(crate) fn eur(minor: i64) -> Value {
    json!({"amount_minor": minor, "currency": "EUR"})
}

pub(crate) fn charge(minor: i64, method: &str) -> Value {
    json!({"amount": eur(minor), "method": method})
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}
