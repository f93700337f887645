//! Puts the service together: store, engine, clients, listeners, sweeper. The only place that knows all of them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use amends_auth::{Gate, Revocations, ServiceToken, Verifier, authenticate};
use amends_protos::{FILE_DESCRIPTOR_SET, orders::v1::order_service_server::OrderServiceServer};
use amends_resilience::{Admission, Edge, Guard};
use amends_sql::{Database, Schema};
use anyhow::Context as _;
use axum::middleware::from_fn_with_state;
use saga_engine::{Engine, EngineBuilder, journal::Journal as _};
use service_base::{
    descriptors::{OTHERS, Share},
    kv::Redis,
    metrics::HttpCalls,
};
use service_kit::{Runtime, grpc, http::Limits, shutdown::finish};
use tokio::{net::TcpListener, sync::Semaphore, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Core, Repeats, Settings},
    clients::{GrpcInventory, GrpcPayments},
    config::Config,
    grpc::OrdersGrpc,
    http::{self, Api, Waits},
    metrics::{Meters, engine_metrics},
    peers::Peers,
    ports::{Inventory, OrderStore, Payments},
    saga::{Participants, Sagas, cancel_order, place_order},
    store::{self, ApplyToOrders, Journal, SqlOrders},
};

/// The service's name, in logs, spans and metrics.
pub const SERVICE: &str = "order-service";

/// An order of 100 lines is below 20 KiB; nothing asked of this service is larger.
pub(crate) const MESSAGE_BYTES_MAX: usize = http::BODY_BYTES_MAX;

/// One in so many callers who wait can only be one whose request was let in before.
const FOR_REPEATS: usize = 4;

/// What closing may take beyond draining sagas: writes under way, leaving sagas that have not settled, and closing the database.
const CLOSE_MAX: Duration = Duration::from_millis(1_500);
/// How long a commit may take for which its caller has not waited, and the sweep that is under way.
const WRITES_MAX: Duration = Duration::from_millis(500);

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// REST.
    pub http: SocketAddr,
    /// `amends.orders.v1.OrderService`, health and reflection.
    pub grpc: SocketAddr,
}

/// The service, ready to run.
pub struct App {
    addresses: Addresses,
    http: TcpListener,
    grpc: TcpListener,
    api: Api,
    verifier: Verifier,
    engine: Engine<Journal>,
    database: Database,
    shares: Shares,
    sweep_every: Duration,
    drain: Duration,
    runtime: Runtime,
}

/// How many connections the listeners may have.
struct Shares {
    http: Share,
    grpc: Share,
}

/// What `amends migrate` brings up to date in the orders' database, in this order.
pub const fn schemas() -> [Schema; 2] {
    [saga_engine::SCHEMA, store::SCHEMA]
}

/// Opens the store, migrates it, starts the engine and binds the listeners. Participants and the token service need not be up. Revoked
/// tokens are looked up in Redis, if there is one.
///
/// # Errors
/// When the database stays away for longer than configured, a migration fails, or an address is taken.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    let revocations = {
        let redis = Redis::at(&config.redis_url).context("order.redis_url")?;
        amends_auth::revocations(redis.map(|redis| redis.measured(SERVICE, &runtime.metrics)))
    };
    build_with(config, runtime, revocations, &Peers::default()).await
}

/// As [`build`], with another way to learn of revoked tokens, and with the participants that are in this process: services in one process
/// ask the token service and call each other directly.
///
/// # Errors
/// As [`build`].
pub async fn build_with(
    config: Config,
    runtime: &Runtime,
    revocations: Arc<dyn Revocations>,
    peers: &Peers,
) -> anyhow::Result<App> {
    let verifier = Verifier::new(config.auth.clone(), Arc::clone(&runtime.clock), &runtime.metrics, revocations)
        .context("the token verifier cannot be made")?;
    let token = service_token(&config, runtime)?;
    let (inventory, payments) = participants_as(&config, runtime, &token, peers)?;
    let (url, options) = (config.database.url.expose(), config.database_options());
    runtime.descriptors.reserve("order.database", amends_sql::descriptors(url, &options))?;
    runtime.descriptors.reserve("order.payment.channel", peers.connections(&config) + OTHERS)?;
    let shares = Shares {
        // As many as the gateway has requests on the way here.
        http: runtime.descriptors.share("order.http", 3)?,
        grpc: runtime.descriptors.share("order.grpc", 1)?,
    };
    let database = config.database.open("order", &options, &schemas()).await?;
    let http = bind("order.http.listen", config.http.listen).await?;
    let grpc = bind("order.grpc.listen", config.grpc.listen).await?;
    let addresses = Addresses { http: http.local_addr()?, grpc: grpc.local_addr()? };
    let (core, engine) = core(&config, runtime, &database, inventory, payments)?;
    service_kit::database::watch(runtime, SERVICE, "order", &database);
    let sagas = engine.clone();
    runtime.readiness.add("order", "sagas", move || {
        let ready = sagas.is_ready();
        async move { if ready { Ok(()) } else { Err("this replica does not hold its lease".to_owned()) } }
    });
    crate::readiness::add(&runtime.readiness, &config, peers, &token, &runtime.clock)?;
    let waits = Waits {
        default: Duration::from_millis(config.wait.default_ms),
        max: Duration::from_millis(config.wait.max_ms),
        accept: Duration::from_millis(config.wait.accept_ms),
    };
    Ok(App {
        addresses,
        http,
        grpc,
        api: Api { core, waits },
        verifier,
        engine,
        database,
        shares,
        sweep_every: Duration::from_secs(config.limits.sweep_secs),
        drain: Duration::from_secs(config.saga.drain_secs),
        runtime: runtime.clone(),
    })
}

async fn bind(key: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: {address}"))
}

/// The clients of the two participants, as the sagas use them. Public for the contract tests, which put a double in a participant's place.
///
/// # Errors
/// When a URL is not one.
pub fn participants(config: &Config, runtime: &Runtime) -> anyhow::Result<(Arc<dyn Inventory>, Arc<dyn Payments>)> {
    participants_as(config, runtime, &service_token(config, runtime)?, &Peers::default())
}

fn service_token(config: &Config, runtime: &Runtime) -> anyhow::Result<ServiceToken> {
    let calls = HttpCalls::new(SERVICE, &runtime.metrics);
    ServiceToken::measured(config.service_token.clone(), Arc::clone(&runtime.clock), calls)
        .context("the client of the token service cannot be made")
}

fn participants_as(
    config: &Config,
    runtime: &Runtime,
    token: &ServiceToken,
    peers: &Peers,
) -> anyhow::Result<(Arc<dyn Inventory>, Arc<dyn Payments>)> {
    let guard = |name: &'static str, config: &crate::config::ParticipantConfig| {
        Guard::new(Edge::new(SERVICE, name), &config.resilience, Arc::clone(&runtime.clock), &runtime.metrics)
    };
    let inventory = GrpcInventory::new(
        peers.inventory(&config.inventory.channel)?,
        guard("inventory-service", &config.inventory),
        token.clone(),
    );
    let payments = GrpcPayments::new(
        peers.payment(&config.payment.channel)?,
        guard("payment-service", &config.payment),
        token.clone(),
    );
    Ok((Arc::new(inventory), Arc::new(payments)))
}

/// The use cases on a running engine, whatever the participants are.
pub(crate) fn core(
    config: &Config,
    runtime: &Runtime,
    database: &Database,
    inventory: Arc<dyn Inventory>,
    payments: Arc<dyn Payments>,
) -> anyhow::Result<(Arc<Core>, Engine<Journal>)> {
    let meters = Meters::new(&runtime.metrics);
    let journal = Arc::new(Journal::new(database.clone(), ApplyToOrders::new(database.dialect(), meters.clone())));
    let participants = Arc::new(Participants {
        inventory: Arc::clone(&inventory),
        payments: Arc::clone(&payments),
        ids: Arc::clone(&runtime.ids),
    });
    let policy = config.saga.policy();
    let deadline = Duration::from_secs(config.saga.deadline_secs);
    let builder: EngineBuilder<Journal> = Engine::builder(Arc::clone(&journal));
    let engine = builder
        .clock(Arc::clone(&runtime.clock))
        .ids(Arc::clone(&runtime.ids))
        .config(config.saga.engine())
        .metrics(engine_metrics(&runtime.metrics))
        .spans_in(service_base::context::spans_of(SERVICE))
        .register(place_order::definition(&participants, &policy, deadline)?)
        .register(cancel_order::definition(&participants, &policy)?)
        .start();
    let store: Arc<dyn OrderStore> = Arc::new(SqlOrders::new(database.clone(), journal));
    let limits = &config.limits;
    let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
    let core = Arc::new(Core {
        store,
        inventory,
        payments,
        sagas: Sagas::new(engine.clone()),
        clock: Arc::clone(&runtime.clock),
        ids: Arc::clone(&runtime.ids),
        settings: Settings {
            keys_kept_for: hours(limits.idempotency_hours),
            events_kept_for: hours(limits.outbox_hours),
            watch_max: Duration::from_secs(limits.watch_secs_max),
            ..Settings::default()
        },
        permits: Arc::new(Semaphore::new(limits.waiting_max)),
        admission: Admission::new(
            SERVICE,
            &config.admission,
            limits.waiting_max - limits.waiting_max / FOR_REPEATS,
            config.attempt_max(),
            Arc::clone(&runtime.clock),
            &runtime.metrics,
        ),
        repeats: Repeats::default(),
        watches: Arc::new(Semaphore::new(limits.watches_max)),
        meters,
        shutdown: runtime.shutdown.clone(),
    });
    Ok((core, engine))
}

impl App {
    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The engine, for operators in the same process.
    pub const fn engine(&self) -> &Engine<Journal> {
        &self.engine
    }

    /// The database, for `amends audit` in the same process.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Serves until shutdown; then lets requests and sagas in flight end, within bounds, and leaves the rest to other replicas, or to the
    /// next start on a database of its own.
    ///
    /// # Errors
    /// When a listener cannot be served.
    pub async fn run(self) -> anyhow::Result<()> {
        self.runtime.readiness.started();
        let stop = self.runtime.shutdown.token().child_token();
        tracing::info!(service = SERVICE, http = %self.addresses.http, grpc = %self.addresses.grpc, "listening");
        let sweeper = self
            .runtime
            .shutdown
            .spawn("order-sweeper", sweep(Arc::clone(&self.api.core), self.sweep_every, stop.clone()));
        let orders =
            OrderServiceServer::new(OrdersGrpc::new(self.api.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let grpc = grpc::Server::new(SERVICE, &self.runtime)
            .verifier(self.verifier.clone())
            .reflection(FILE_DESCRIPTOR_SET)
            .share(self.shares.grpc)
            .add_service(orders)
            .serve(self.grpc);
        let gate = from_fn_with_state(Gate::http(self.verifier), authenticate);
        let router = http::routes(self.api).layer(gate);
        let router = service_kit::http::app(router, SERVICE, &self.runtime);
        let rest = service_kit::http::serve_with(
            self.http,
            router,
            Limits::within(&self.shares.http),
            self.runtime.shutdown.clone(),
        );
        let served = tokio::try_join!(async { Ok(rest.await?) }, grpc);
        // Also where a listener failed while the rest of the process goes on.
        stop.cancel();
        let closing = async {
            // Orders that are being written for callers that have left: what is committed is launched, and drained below.
            self.runtime.shutdown.drained(WRITES_MAX).await;
            let drained = self.engine.drain(self.drain).await;
            let (settled, left) = (drained.settled, drained.handed_over);
            if left == 0 {
                tracing::info!(settled, "sagas drained");
            } else if self.engine.journal().is_exclusive() {
                tracing::warn!(
                    settled,
                    left,
                    "sagas had not settled; the next start on this database goes on with them at once"
                );
            } else {
                tracing::info!(settled, handed_over = left, "sagas drained; other replicas go on with the rest");
            }
            self.database.close().await;
        };
        finish(SERVICE, self.drain + CLOSE_MAX, closing).await;
        sweeper.abort();
        served.map(|((), ())| ())
    }
}

/// Removes what is past its time, a batch at a time. A store that fails is tried again at the next tick.
async fn sweep(core: Arc<Core>, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        loop {
            let now = core.clock.now();
            match core.store.sweep(now, now - core.settings.events_kept_for).await {
                Ok(swept) if swept.may_have_more && !stop.is_cancelled() => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is past its time could not be removed; trying again later");
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_alone_asks_for_tokens_and_stops_when_told() {
        service_kit::main::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new();
        let nowhere = || SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::default();
        (config.http.listen, config.grpc.listen) = (nowhere(), nowhere());
        config.database.url = format!("sqlite://{}?mode=rwc", dir.path().join("order.db").display()).into();
        let app = build(config, &runtime).await.unwrap();
        let Addresses { http, grpc } = *app.addresses();
        assert!(http.port() != 0 && grpc.port() != 0);
        let running = tokio::spawn(app.run());

        let answer =
            raw(http, "POST /v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
        let channel =
            tonic::transport::Channel::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        let ask = tonic_health::pb::HealthCheckRequest { service: "amends.orders.v1.OrderService".to_owned() };
        assert_eq!(health.check(ask).await.unwrap().into_inner().status, 1);
        let ready = runtime.readiness.ask().await;
        assert!(ready.iter().all(|(_, result)| result.is_ok()), "{ready:?}");

        drop(health);
        runtime.shutdown.trigger();
        tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap().unwrap();
    }

    async fn raw(address: SocketAddr, request: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
