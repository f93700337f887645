//! All services in one process, built for a test.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::client::Client;
use crate::embedded::*;

const PASSWORD: &str = "a-password-for-tests";
/// Longer than anything here takes; only a failure meets it.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Shop {
    pub(super) addresses: Addresses,
    pub(super) runtime: Runtime,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Shop {
    pub(super) async fn open(dir: &Path, sources: Sources) -> Self {
        service_kit::main::install_crypto();
        let (mut settings, _, _) = Embedded::settings(dir, sources, Some(PASSWORD.to_owned().into())).unwrap();
        settings.on_free_ports();
        let runtime = Runtime::new();
        let embedded = Box::pin(Embedded::build(settings, &runtime)).await.unwrap();
        let addresses = *embedded.addresses();
        Self { addresses, runtime, running: tokio::spawn(Box::pin(embedded.run())) }
    }

    pub(super) async fn customer(&self) -> Client {
        Client::new(self.addresses.gateway).unwrap().log_in(DEMO_USER, PASSWORD).await.unwrap()
    }

    /// A client with the same token and a connection of its own.
    pub(super) fn another(&self, customer: &Client) -> Client {
        Client::new(self.addresses.gateway).unwrap().with_token(customer.token().unwrap())
    }

    pub(super) async fn switch_faults(&self, faults: Value) {
        let client = service_base::client::internal().build().unwrap();
        let put = client.put(format!("http://{}/faults", self.addresses.admin)).json(&faults).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    }

    /// Closes it, which it must do by itself.
    pub(super) async fn close(self) {
        self.runtime.shutdown.trigger();
        self.closed().await;
    }

    /// Waits for its end, which must come by itself.
    pub(super) async fn closed(self) {
        tokio::time::timeout(PATIENCE, self.running).await.expect("it closes").unwrap().unwrap();
    }
}
