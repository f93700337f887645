//! Puts the acquirer together: ledger, rules, faults, listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use service_base::descriptors::Share;
use service_kit::{
    Runtime,
    faults::Faults,
    http::Limits,
    shutdown::{Shutdown, finish},
};
use tokio::net::TcpListener;

use crate::{
    acquirer::Acquirer,
    config::Config,
    faults,
    http::{self, Api},
    store::SqlLedger,
};

/// Its name, in logs, spans and metrics.
pub const SERVICE: &str = "acquirer";

/// All that closing may take once every request is answered.
const CLOSE_MAX: Duration = Duration::from_millis(3_500);

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The JSON interface.
    pub http: SocketAddr,
}

/// The acquirer, ready to run.
pub struct App {
    addresses: Addresses,
    listener: TcpListener,
    router: Router,
    ledger: SqlLedger,
    faults: Faults,
    share: Share,
    shutdown: Shutdown,
}

/// Opens the ledger, brings it up to date and binds the listener.
///
/// # Errors
/// When the file cannot be opened, the address is taken, or faults are configured in production.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    let faults = runtime.faults.install("acquirer", config.faults.clone(), faults::check)?;
    let files = amends_sql::descriptors(config.database.url.expose(), &config.options());
    runtime.descriptors.reserve("acquirer.database", files)?;
    let share = runtime.descriptors.share("acquirer.http", 1)?;
    let ledger = SqlLedger::open(config.database.url.expose(), &config.options(), Arc::clone(&runtime.clock))
        .context("acquirer.database.url")?;
    ledger.serve_alone(config.database.url.expose()).await.context("acquirer.database.url")?;
    ledger.migrate(Duration::ZERO).await.context("the acquirer's ledger cannot be brought up to date")?;
    let acquirer = Acquirer::new(ledger.clone(), config.rules()).declining_also(faults.clone());
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("acquirer.http.listen: {}", config.http.listen))?;
    let addresses = Addresses { http: listener.local_addr()? };
    service_kit::database::count(&runtime.metrics, "acquirer", ledger.database());
    service_kit::database::time(&runtime.metrics, SERVICE, ledger.database());
    let asked = ledger.clone();
    runtime.readiness.add("acquirer", "store", move || {
        let ledger = asked.clone();
        async move { ledger.ping().await.map_err(|error| amends_sql::in_words(&error)) }
    });
    let api = Api::new(acquirer, ledger.clone(), runtime.shutdown.clone());
    let router = http::router(api, &config, faults.clone(), runtime);
    runtime.readiness.started();
    Ok(App { addresses, listener, router, ledger, faults, share, shutdown: runtime.shutdown.clone() })
}

impl App {
    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What goes wrong on purpose: can be switched while it runs.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Its books, for compositions in one process that look into them.
    pub const fn ledger(&self) -> &SqlLedger {
        &self.ledger
    }

    /// Serves until shutdown, then lets requests in flight end, within a bound.
    ///
    /// # Errors
    /// When the listener cannot be served.
    pub async fn run(self) -> anyhow::Result<()> {
        tracing::info!(service = SERVICE, http = %self.addresses.http, "listening");
        let limits = Limits::within(&self.share);
        let served = service_kit::http::serve_with(self.listener, self.router, limits, self.shutdown.clone()).await;
        let closing = async {
            // Work for merchants that hung up needs the ledger still.
            self.shutdown.drained(http::STOP_MAX).await;
            self.ledger.close().await;
        };
        finish(SERVICE, CLOSE_MAX, closing).await;
        Ok(served?)
    }
}
