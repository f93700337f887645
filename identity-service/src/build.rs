//! Puts the service together: store, keys, listener, maintenance.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;

use amends_auth::Revocations;
use amends_primitives::SteadyTime;
use amends_sql::Database;
use service_base::{
    descriptors::{OTHERS, Share},
    kv::Redis,
};
use service_kit::{Runtime, http::Limits, shutdown::finish};

use crate::{
    app::{
        Core, Settings,
        keys::{self, Keys},
        revocations::{KnownRevocations, Singles},
    },
    config::{self, Config},
    crypto::{keyring::Keyring, password::Passwords},
    http::{self, HttpState},
    metrics::Metrics,
    ports::Sharing,
    redis_sharing::RedisSharing,
    store::{SCHEMA, SqlStore},
};

/// What this service is called in logs, traces and metrics.
pub const SERVICE: &str = "identity-service";

/// How often the work of `app::maintain` is done. A replica learns of another's keys and revocations within this time.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);

/// How soon a revocation that is stored and could not be shared is shared again.
const SHARE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a clock that was set forward may be wrong and nothing be deleted for it.
const CLOCK_PATIENCE: Duration = Duration::from_hours(1);

/// All that closing may take once every request is answered: the maintenance that is under way, and the store.
const CLOSE_MAX: Duration = Duration::from_millis(3_500);

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// HTTP/1.1 and HTTP/2 without TLS.
    pub http: SocketAddr,
}

/// The service, built and bound but not serving yet.
pub struct App {
    pub(crate) core: Arc<Core>,
    addresses: Addresses,
    listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) database: Database,
    share: Share,
    runtime: Runtime,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Opens and migrates the store, writes the configured users and clients, loads or makes the signing keys, binds the listener.
///
/// # Errors
/// When any of that fails. A database that is not up yet is waited for; Redis is not needed to start.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    let share = runtime.descriptors.share("identity.http", 1)?;
    let database = open_database(&config, runtime).await?;
    let core = Arc::new(build_core(&config, &database, runtime)?);
    core.bootstrap(&config.bootstrap).await.context("the configured users and clients could not be written")?;
    core.keys
        .refresh(core.store.as_ref(), &core.keyring, core.now())
        .await
        .context("the signing keys could not be loaded")?;
    core.learn_revocations().await.context("the revocations could not be loaded")?;
    // Redis is not asked: without it no session can be revoked for all services, but users can still log in.
    service_kit::database::watch(runtime, SERVICE, "identity", &database);
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("identity.http.listen: cannot listen on {}", config.http.listen))?;
    let addresses = Addresses { http: listener.local_addr()? };
    let router = router(&config, &core, runtime);
    Ok(App { core, addresses, listener, router, database, share, runtime: runtime.clone() })
}

/// Whether the signing keys in the store can be read with the configured key encryption keys, for `amends doctor`: how many there are.
/// Changes nothing; another replica may serve.
///
/// # Errors
/// When the store cannot be asked, or a key was sealed with another key encryption key.
pub async fn probe_keys(config: &Config) -> anyhow::Result<usize> {
    let database = Database::connect_lazy(config.database.url.expose(), &amends_sql::Options::default())?;
    let probed = keys::probe(&SqlStore::new(database.clone()), &keyring(config)?).await;
    database.close().await;
    Ok(probed?)
}

fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let key = config::read_key(&config.key_encryption_key)
        .context("identity.key_encryption_key is not 32 bytes in base64")?;
    let former = config.former_key_encryption_keys.iter().map(config::read_key).collect::<Option<Vec<_>>>();
    let former = former.context("identity.former_key_encryption_keys are not 32 bytes in base64")?;
    Keyring::new(&key, &former).map_err(|_| anyhow::anyhow!("identity.key_encryption_key cannot be used"))
}

async fn open_database(config: &Config, runtime: &Runtime) -> anyhow::Result<Database> {
    let options = config.database.options();
    let url = config.database.url.expose();
    runtime.descriptors.reserve("identity.database", amends_sql::descriptors(url, &options) + OTHERS)?;
    config.database.open("identity", &options, &[SCHEMA]).await
}

fn build_core(config: &Config, database: &Database, runtime: &Runtime) -> anyhow::Result<Core> {
    // The error would repeat the URL, which may hold a password.
    let redis = Redis::at(&config.redis_url).map_err(|_| anyhow::anyhow!("identity.redis_url is not a Redis URL"))?;
    let redis = redis.map(|redis| redis.measured(SERVICE, &runtime.metrics));
    let sharing = redis.map(|redis| Arc::new(RedisSharing::new(redis)) as Arc<dyn Sharing>);
    Ok(Core {
        store: Arc::new(SqlStore::new(database.clone())),
        sharing,
        known: KnownRevocations::default(),
        singles: Singles::default(),
        unshared: tokio::sync::Notify::new(),
        steady: parking_lot::Mutex::new(SteadyTime::new(CLOCK_PATIENCE)),
        shared_at: parking_lot::Mutex::default(),
        keys: Keys::new(config.rotation_policy()),
        keyring: Arc::new(keyring(config)?),
        passwords: Passwords::new(config.hash_cost(), config.turn_limits()).context("identity.password")?,
        clock: Arc::clone(&runtime.clock),
        ids: Arc::clone(&runtime.ids),
        metrics: Metrics::new(&runtime.metrics, config.rotation_policy().period),
        settings: Settings {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            access_life: config.access_life(),
            refresh: config.refresh_policy(),
            throttle: config.throttle_policy(),
            login_client_id: config.login_client_id.clone(),
            password_grant: config.password_grant,
        },
    })
}

fn router(config: &Config, core: &Arc<Core>, runtime: &Runtime) -> Router {
    let state = HttpState {
        core: Arc::clone(core),
        trusted_proxies: config.trusted_proxies.clone().into(),
        unnamed_proxy: Arc::default(),
        jwks_max_age_secs: config.keys.jwks_max_age_secs,
    };
    service_kit::http::app(http::router(state), SERVICE, runtime)
}

impl App {
    /// Where the service listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Revocations, for verifiers in the same process: with this they need no Redis.
    pub fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.core.known.clone())
    }

    /// Serves until the runtime's shutdown is triggered, then drains within a bound.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self) -> anyhow::Result<()> {
        self.runtime.readiness.started();
        let shutdown = self.runtime.shutdown.clone();
        let maintenance = tokio::spawn(maintain(Arc::clone(&self.core), shutdown.clone()));
        let limits = Limits::within(&self.share);
        let served = service_kit::http::serve_with(self.listener, self.router, limits, shutdown).await;
        let closing = async {
            if let Err(error) = maintenance.await {
                tracing::error!(%error, "maintenance has stopped badly");
            }
            self.database.close().await;
        };
        finish(SERVICE, CLOSE_MAX, closing).await;
        Ok(served?)
    }
}

pub(crate) async fn maintain(core: Arc<Core>, shutdown: service_kit::shutdown::Shutdown) {
    let mut ticks = tokio::time::interval(MAINTAIN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.triggered() => return,
            _ = ticks.tick() => core.maintain().await,
            () = core.unshared.notified() => {
                tokio::select! {
                    () = shutdown.triggered() => return,
                    () = tokio::time::sleep(SHARE_AGAIN_AFTER) => {}
                }
                if let Err(error) = core.share_revocations().await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "revocations cannot be shared yet");
                    core.unshared.notify_one();
                }
            }
        }
    }
}
