//! An acquirer of one's own, behind a real socket: it can be made to fail, killed and started again on the same books.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ::acquirer::{Config, build, store::SqlLedger};
use amends_primitives::{RandomIds, SystemClock};
use payment_service::config::{HttpProcessorConfig, ProcessorKind};
use service_kit::{Runtime, faults::Faults};
use tempfile::TempDir;

const SECRET: &str = "a-merchant-secret-for-tests";

pub(crate) struct Bank {
    pub(crate) faults: Faults,
    pub(crate) ledger: SqlLedger,
    pub(crate) address: SocketAddr,
    dir: TempDir,
    /// A runtime of its own, which takes everything with it when it is killed.
    running: Option<tokio::runtime::Runtime>,
}

fn config_in(dir: &TempDir, listen: SocketAddr) -> Config {
    let mut config = Config { secret: SECRET.into(), ..Config::default() };
    config.http.listen = listen;
    config.database.url = format!("sqlite://{}?mode=rwc", dir.path().join("acquirer.db").display()).into();
    config.database.statement_timeout_ms = 20_000;
    config.rules.hang_ms = 60_000;
    config
}

async fn start(config: Config) -> anyhow::Result<(tokio::runtime::Runtime, SocketAddr, Faults, SqlLedger)> {
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let built = running.spawn(async move {
        let runtime = Runtime::with(Arc::new(SystemClock), Arc::new(RandomIds));
        let app = build(config, &runtime).await?;
        let facts = (app.addresses().http, app.faults().clone(), app.ledger().clone());
        tokio::spawn(app.run());
        anyhow::Ok(facts)
    });
    match built.await? {
        Ok((address, faults, ledger)) => Ok((running, address, faults, ledger)),
        Err(error) => {
            running.shutdown_background();
            Err(error)
        }
    }
}

impl Bank {
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config_in(&dir, ([127, 0, 0, 1], 0).into());
        let (running, address, faults, ledger) = start(config).await.unwrap();
        Self { faults, ledger, address, dir, running: Some(running) }
    }

    /// Every task ends where it waits, and every connection breaks.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }

    /// The same books, the same address.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        let begun = std::time::Instant::now();
        let (running, _, faults, ledger) = loop {
            match start(config_in(&self.dir, self.address)).await {
                Ok(started) => break started,
                // The one that was killed has not let go of the port yet.
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error:#}"),
            }
        };
        (self.running, self.faults, self.ledger) = (Some(running), faults, ledger);
    }

    pub(crate) fn client_config(&self) -> HttpProcessorConfig {
        HttpProcessorConfig {
            url: format!("http://{}", self.address),
            secret: SECRET.into(),
            ..HttpProcessorConfig::default()
        }
    }

    /// Has a payment service make its payments here.
    pub(crate) fn serves(&self, config: &mut payment_service::Config) {
        config.processor.kind = ProcessorKind::Http;
        config.processor.http = self.client_config();
    }

    /// The bank statement, read as a merchant reads it: what was taken and given back, by the key of the charge. No charge is on it
    /// twice.
    pub(crate) async fn statement(&self) -> BTreeMap<String, (i64, i64)> {
        let client = service_base::client::internal().build().unwrap();
        let (mut books, mut after) = (BTreeMap::<String, (i64, i64)>::new(), 0);
        loop {
            let url = format!("http://{}/v1/movements?after={after}&limit=50", self.address);
            let answer = client.get(url).bearer_auth(SECRET).send().await.unwrap();
            let page: serde_json::Value = answer.json().await.unwrap();
            for line in page["movements"].as_array().unwrap() {
                let amount = line["amount"]["amount_minor"].as_i64().unwrap();
                let (taken, given_back) = books.entry(line["charge"].as_str().unwrap().to_owned()).or_default();
                if line["kind"] == "capture" {
                    assert_eq!(*taken, 0, "captured twice: {line}");
                    *taken = amount;
                } else {
                    *given_back += amount;
                }
            }
            after = page["next"].as_i64().unwrap();
            if page["more"] == false {
                return books;
            }
        }
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.kill();
    }
}
