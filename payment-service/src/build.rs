//! Puts the service together: store, processor, token verification, listener.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use amends_auth::{Revocations, Verifier};
use amends_primitives::{Clock, SystemClock};
use amends_protos::{FILE_DESCRIPTOR_SET, payments::v1::payment_service_server::PaymentServiceServer};
use amends_sql::{Database, Schema};
use anyhow::Context as _;
use service_base::{
    descriptors::{OTHERS, Share},
    kv::Redis,
};
use service_kit::{
    Runtime,
    faults::Faults,
    grpc::{Local, Server},
    shutdown::{Shutdown, finish},
};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::events::EventType;
use crate::{
    app::Payments,
    config::{Config, DatabaseConfig, ProcessorConfig, ProcessorKind, SERVICE},
    faults,
    grpc::Api,
    ledger,
    metrics::Attempts,
    observed::{ObservedProcessor, ObservedStore},
    processor::{
        PaymentProcessor,
        http::HttpProcessor,
        simulated::{SimulatedProcessor, SqlLedger},
    },
    store::{
        PaymentStore, StoreError,
        audit::AuditStore,
        former::FormerLedger,
        mongo::MongoStore,
        sqlite::{self, SqliteStore},
    },
};
use amends_webhooks::{Webhooks, outbox::Outbox, store::WebhookStore};

/// A charge has a few hundred bytes; nothing asked of this service is larger.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Between two looks for a database that is still starting.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How long work for callers that hung up may take to end at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// All that closing may take once every call is answered: the work above, webhooks that are being sent, and the store.
const CLOSE_MAX: Duration = Duration::from_millis(3_500);

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// `amends.payments.v1.PaymentService`, health and reflection.
    pub grpc: SocketAddr,
}

/// The service, ready to run.
pub struct App {
    addresses: Addresses,
    listener: TcpListener,
    server: Server,
    store: OpenedStore,
    ledger: Option<SqlLedger>,
    faults: Faults,
    webhooks: Option<Webhooks<StoreError>>,
    shutdown: Shutdown,
    /// Every permit of the work in flight, and how many there are.
    work: (Arc<Semaphore>, u32),
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A store, and what it can be asked for.
#[derive(Clone)]
pub struct OpenedStore {
    /// The payments.
    pub payments: Arc<dyn PaymentStore>,
    /// What others are told.
    pub webhooks: Arc<dyn WebhookStore<Error = StoreError>>,
    /// All of it, for reconciliation.
    pub audit: Arc<dyn AuditStore>,
    /// What earlier versions kept in it besides.
    pub former: Arc<dyn FormerLedger>,
    /// The file, where it is one.
    pub file: Option<Database>,
}

impl OpenedStore {
    fn of<S: PaymentStore + WebhookStore<Error = StoreError> + AuditStore + FormerLedger + Clone>(store: S) -> Self {
        Self {
            payments: Arc::new(store.clone()),
            webhooks: Arc::new(store.clone()),
            audit: Arc::new(store.clone()),
            former: Arc::new(store),
            file: None,
        }
    }

    fn of_file(store: SqliteStore) -> Self {
        Self { file: Some(store.database().clone()), ..Self::of(store) }
    }

    /// Opens the store that the configuration names, without asking whether it is there.
    ///
    /// # Errors
    /// When the URL is not one of its kind.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        if config.is_mongo() {
            MongoStore::open(config.url.secret(), &config.name, &config.mongo_options()).await.map(Self::of)
        } else {
            SqliteStore::open(config.url.expose(), &config.sqlite_options()).map(Self::of_file)
        }
    }

    /// As [`open`](Self::open), for tools that look at the store beside the service: a SQLite file that is missing is not made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_existing(config: &DatabaseConfig) -> Result<Self, StoreError> {
        if config.is_mongo() {
            return Self::open(config).await;
        }
        let options = amends_sql::Options { may_create: false, ..config.sqlite_options() };
        SqliteStore::open(config.url.expose(), &options).map(Self::of_file)
    }

    /// Brings it up to date, waiting up to `patience` for one that is still starting.
    ///
    /// # Errors
    /// The last error once `patience` is over, or the first permanent one.
    pub async fn migrate(&self, patience: Duration) -> Result<(), StoreError> {
        let begun = Instant::now();
        loop {
            match self.payments.migrate().await {
                Err(error) if error.is_transient() && begun.elapsed() < patience => {
                    tracing::warn!(error = amends_sql::in_words(&error), "waiting for the payment store");
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    }
}

/// What [`migrate`] brings up to date in an embedded store.
pub const fn schemas() -> [Schema; 1] {
    [sqlite::SCHEMA]
}

/// Brings the configured store up to date, and the books of the simulated acquirer: what `amends migrate` runs. The service does so itself
/// when it starts.
///
/// # Errors
/// When the store stays away for longer than configured, or refuses.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = OpenedStore::open(&config.database).await.context("payment.database.url")?;
    migrated(&store, &config.database).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if let Some(ledger) = ledger::open(config, &*store.former, &clock).await? {
        ledger.close().await;
    }
    store.payments.close().await;
    Ok(())
}

/// Removes everything the configured store holds of ours: what `amends reset` runs.
///
/// # Errors
/// When the store is a file, which is removed as one, or does not answer.
pub async fn erase(config: &DatabaseConfig) -> anyhow::Result<()> {
    anyhow::ensure!(config.is_mongo(), "payment.database.url names a file");
    let store = MongoStore::open(config.url.secret(), &config.name, &config.mongo_options()).await?;
    let erased = store.erase().await;
    PaymentStore::close(&store).await;
    Ok(erased?)
}

async fn migrated(store: &OpenedStore, config: &DatabaseConfig) -> anyhow::Result<()> {
    let patience = Duration::from_secs(config.start_patience_secs);
    store.migrate(patience).await.context("the payment store cannot be brought up to date")
}

/// Opens the store, brings it up to date and binds the listener. Revoked tokens are looked up in Redis, if there is one.
///
/// # Errors
/// When the store stays away for longer than configured, or the address is taken.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    build_with(config, runtime, None).await
}

/// As [`build`], with another way to learn of revoked tokens: services in one process ask the token service directly.
///
/// # Errors
/// As [`build`].
pub async fn build_with(
    config: Config,
    runtime: &Runtime,
    revocations: Option<Arc<dyn Revocations>>,
) -> anyhow::Result<App> {
    let revocations: Arc<dyn Revocations> = if let Some(revocations) = revocations {
        revocations
    } else {
        let redis = Redis::at(&config.redis_url).context("payment.redis_url")?;
        amends_auth::revocations(redis.map(|redis| redis.measured(SERVICE, &runtime.metrics)))
    };
    let check = match config.processor.kind {
        ProcessorKind::Simulated => faults::check,
        ProcessorKind::Http => faults::check_declining_elsewhere,
    };
    let faults = runtime.faults.install("payment", config.faults.clone(), check)?;
    let verifier = Verifier::new(config.auth.clone(), Arc::clone(&runtime.clock), &runtime.metrics, revocations)
        .context("the token verifier cannot be made")?;
    let share = give_descriptors(&config, runtime)?;
    let store = OpenedStore::open(&config.database).await.context("payment.database.url")?;
    store.payments.serve_alone(config.database.url.expose()).await.context("payment.database.url")?;
    migrated(&store, &config.database).await?;
    let system = if config.database.is_mongo() { "mongodb" } else { "sqlite" };
    let ledger = ledger::open(&config, &*store.former, &runtime.clock).await?;
    let processor = processor(&config.processor, ledger.as_ref(), &faults)?;
    let webhooks = Webhooks::new(SERVICE, &config.webhooks, &EventType::KINDS, Arc::clone(&store.webhooks), runtime)
        .context("payment.webhooks")?;
    let payments = Payments {
        store: Arc::new(ObservedStore::new(Arc::clone(&store.payments), system, &runtime.metrics)),
        processor: Arc::new(ObservedProcessor::new(processor, &runtime.metrics)),
        processor_timeout: config.processor.timeout(),
        clock: Arc::clone(&runtime.clock),
        ids: Arc::clone(&runtime.ids),
        attempts: Attempts::new(&runtime.metrics),
        outbox: webhooks.as_ref().map_or_else(Outbox::off, Webhooks::outbox),
    };
    let listener = TcpListener::bind(config.grpc.listen)
        .await
        .with_context(|| format!("payment.grpc.listen: {}", config.grpc.listen))?;
    let addresses = Addresses { grpc: listener.local_addr()? };
    let files = [("payment", store.file.as_ref()), ("acquirer", ledger.as_ref().map(SqlLedger::database))];
    for (name, file) in files {
        let Some(file) = file else { continue };
        service_kit::database::count(&runtime.metrics, name, file);
    }
    // The payments' own store is measured by its operations, whichever it is.
    if let Some(ledger) = &ledger {
        service_kit::database::time(&runtime.metrics, acquirer::SERVICE, ledger.database());
    }
    let asked = (Arc::clone(&store.payments), ledger.clone());
    runtime.readiness.add("payment", "store", move || {
        let (store, ledger) = asked.clone();
        async move {
            store.ping().await.map_err(|error| amends_sql::in_words(&error))?;
            // Where it is in this process, payments cannot be made without it.
            let Some(ledger) = ledger else { return Ok(()) };
            ledger.ping().await.map_err(|error| amends_sql::in_words(&error))
        }
    });
    let in_flight = Arc::new(Semaphore::new(config.grpc.in_flight_max as usize));
    let work = (Arc::clone(&in_flight), config.grpc.in_flight_max);
    let api = Api::new(payments, faults.clone(), in_flight, runtime.shutdown.clone());
    let api = PaymentServiceServer::new(api).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server =
        Server::new(SERVICE, runtime).verifier(verifier).reflection(FILE_DESCRIPTOR_SET).share(share).add_service(api);
    runtime.readiness.started();
    let shutdown = runtime.shutdown.clone();
    Ok(App { addresses, listener, server, store, ledger, faults, webhooks, shutdown, work })
}

/// Sets file descriptors aside for all that this service connects to; the listener gets a share of the rest.
fn give_descriptors(config: &Config, runtime: &Runtime) -> anyhow::Result<Share> {
    /// To each member of a replica set, besides the pool: the driver watches it over two connections.
    const MONITORING: usize = 16;
    let Config { database, processor, grpc, webhooks, .. } = config;
    let store = if database.is_mongo() {
        database.connections_max as usize + MONITORING
    } else {
        amends_sql::descriptors(database.url.expose(), &database.sqlite_options())
    };
    runtime.descriptors.reserve("payment.database", store + OTHERS)?;
    match processor.kind {
        ProcessorKind::Simulated => {
            let ledger = amends_sql::descriptors(&config.ledger_url()?, &config.ledger_options());
            runtime.descriptors.reserve("payment.processor.ledger", ledger)?;
        }
        // Each call in flight may wait for an answer on a connection of its own.
        ProcessorKind::Http => runtime.descriptors.reserve("payment.processor.http", grpc.in_flight_max as usize)?,
    }
    let told = webhooks.enabled().count() * webhooks.concurrency as usize;
    runtime.descriptors.reserve("payment.webhooks", told)?;
    Ok(runtime.descriptors.share("payment.grpc", 1)?)
}

/// Who moves the money, as configured.
fn processor(
    config: &ProcessorConfig,
    ledger: Option<&SqlLedger>,
    faults: &Faults,
) -> anyhow::Result<Arc<dyn PaymentProcessor>> {
    Ok(match (config.kind, ledger) {
        (ProcessorKind::Simulated, Some(ledger)) => {
            let simulated = SimulatedProcessor::new(ledger.clone(), config.rules());
            Arc::new(simulated.declining_also(faults.clone()))
        }
        (ProcessorKind::Simulated, None) => anyhow::bail!("the simulated acquirer has no books"),
        (ProcessorKind::Http, _) => {
            tracing::info!(url = config.http.url, "payments are made through an acquirer");
            Arc::new(HttpProcessor::new(&config.http, config.timeout()).context("payment.processor.http")?)
        }
    })
}

impl App {
    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The way to it for callers in the same process.
    pub fn local(&self) -> Local {
        self.server.local()
    }

    /// What goes wrong on purpose: can be switched while the service runs.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The store, for compositions in one process that audit it.
    pub const fn store(&self) -> &OpenedStore {
        &self.store
    }

    /// Serves until shutdown, then lets calls in flight end, within a bound.
    ///
    /// # Errors
    /// When the listener cannot be served.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { addresses, listener, server, store, ledger, webhooks, shutdown, work: (in_flight, all), .. } = self;
        tracing::info!(service = SERVICE, grpc = %addresses.grpc, "listening");
        let telling = webhooks.map(|webhooks| tokio::spawn(webhooks.run(shutdown)));
        let served = server.serve(listener).await;
        let closing = async {
            // Work for callers that hung up goes on. Past the bound it is cut, which is safe: its repeat goes on from there.
            if tokio::time::timeout(DRAIN_MAX, in_flight.acquire_many(all)).await.is_err() {
                tracing::warn!("payments are still being made; stopping without them");
            }
            // Ends within a bound of its own. What was not told is told by the next process.
            if let Some(telling) = telling
                && let Err(error) = telling.await
            {
                tracing::error!(%error, "the webhooks have stopped badly");
            }
            store.payments.close().await;
            if let Some(ledger) = ledger {
                ledger.close().await;
            }
        };
        finish(SERVICE, CLOSE_MAX, closing).await;
        served
    }
}
