//! Puts the service together: store, token verification, listener, sweeper.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use amends_auth::{Revocations, Verifier};
use amends_protos::{FILE_DESCRIPTOR_SET, inventory::v1::inventory_service_server::InventoryServiceServer};
use amends_sql::{Database, Schema};
use anyhow::Context as _;
use service_base::{descriptors::OTHERS, kv::Redis};
use service_kit::{
    Runtime,
    grpc::{Local, Server},
    shutdown::finish,
};
use tokio::net::TcpListener;

use crate::{
    app::{Inventory, run_sweeper},
    config::Config,
    faults,
    grpc::Api,
    store::{self, Store},
};

/// The service's name, in logs, spans and metrics.
pub const SERVICE: &str = "inventory-service";

/// A reservation of a hundred lines has some ten kilobytes; nothing asked of this service is larger.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// All that closing may take once every call is answered.
const CLOSE_MAX: Duration = Duration::from_millis(3_500);

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// `amends.inventory.v1.InventoryService`, health and reflection.
    pub grpc: SocketAddr,
}

/// The service, ready to run.
pub struct App {
    addresses: Addresses,
    listener: TcpListener,
    server: Server,
    inventory: Inventory,
    database: Database,
    sleep_max: Duration,
    runtime: Runtime,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What `amends migrate` brings up to date in the inventory's database, in this order.
pub const fn schemas() -> [Schema; 2] {
    [store::SCHEMA, saga_engine::participant::SCHEMA]
}

/// Opens the store, migrates it, creates missing items and binds the listener. Revoked tokens are looked up in Redis, if there
/// is one.
///
/// # Errors
/// When the database stays away for longer than configured, a migration fails, or the address is taken.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    let revocations = {
        let redis = Redis::at(&config.redis_url).context("inventory.redis_url")?;
        amends_auth::revocations(redis.map(|redis| redis.measured(SERVICE, &runtime.metrics)))
    };
    build_with(config, runtime, revocations).await
}

/// As [`build`], with another way to learn of revoked tokens: services in one process ask the token service directly.
///
/// # Errors
/// As [`build`].
pub async fn build_with(config: Config, runtime: &Runtime, revocations: Arc<dyn Revocations>) -> anyhow::Result<App> {
    let verifier = Verifier::new(config.auth.clone(), Arc::clone(&runtime.clock), &runtime.metrics, revocations)
        .context("the token verifier cannot be made")?;
    build_verifying(config, runtime, verifier).await
}

async fn build_verifying(config: Config, runtime: &Runtime, verifier: Verifier) -> anyhow::Result<App> {
    let faults = runtime.faults.install("inventory", config.faults.clone(), faults::check)?;
    let (url, options) = (config.database.url.expose(), config.database.options());
    runtime.descriptors.reserve("inventory.database", amends_sql::descriptors(url, &options) + OTHERS)?;
    let share = runtime.descriptors.share("inventory.grpc", 1)?;
    let database = config.database.open("inventory", &options, &schemas()).await?;
    let store = Store::new(database.clone());
    let inventory = Inventory::new(Arc::new(store.clone()), &config, faults, runtime);
    let seed = config.seed.iter().enumerate().map(|(index, item)| {
        item.item().map_err(|(field, message)| anyhow::anyhow!("inventory.seed[{index}].{field}: {message}"))
    });
    let created = inventory.seed(seed.collect::<Result<_, _>>()?).await.context("the catalogue cannot be seeded")?;
    if created > 0 {
        tracing::info!(items = created, "items created that were missing");
    }
    let listener = TcpListener::bind(config.grpc.listen)
        .await
        .with_context(|| format!("inventory.grpc.listen: {}", config.grpc.listen))?;
    let addresses = Addresses { grpc: listener.local_addr()? };
    service_kit::database::watch(runtime, SERVICE, "inventory", &database);
    let api = InventoryServiceServer::new(Api::new(inventory.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server =
        Server::new(SERVICE, runtime).verifier(verifier).reflection(FILE_DESCRIPTOR_SET).share(share).add_service(api);
    let sleep_max = Duration::from_millis(config.sweeper.sleep_max_ms);
    Ok(App { addresses, listener, server, inventory, database, sleep_max, runtime: runtime.clone() })
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

    /// The inventory itself, for compositions in one process that seed it.
    pub const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Serves until shutdown, then lets calls in flight end, within a bound.
    ///
    /// # Errors
    /// When the listener cannot be served.
    pub async fn run(self) -> anyhow::Result<()> {
        self.runtime.readiness.started();
        let stop = self.runtime.shutdown.token().child_token();
        tracing::info!(service = SERVICE, grpc = %self.addresses.grpc, "listening");
        let sweeper =
            self.runtime.shutdown.spawn("inventory-sweeper", run_sweeper(self.inventory, self.sleep_max, stop.clone()));
        let served = self.server.serve(self.listener).await;
        // Also where the listener failed while the rest of the process goes on.
        stop.cancel();
        let closing = async {
            if let Err(error) = sweeper.await {
                tracing::error!(%error, "the sweeper has stopped badly");
            }
            self.database.close().await;
        };
        finish(SERVICE, CLOSE_MAX, closing).await;
        served
    }
}
