//! The front door: authenticates, limits and routes what comes from outside, HTTP and gRPC on one port.
//!
//! Pingora carries requests and answers; what it may read, and when, is decided by our own accept loop ([`connection`]).
//! A request's way is in [`proxy`], phase by phase. Must not know: orders, payments, stock, how tokens are made.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod admission;
mod authenticate;
mod client;
pub mod config;
mod connection;
mod connection_table;
mod headers;
mod health;
mod hygiene;
mod limits;
mod observe;
mod proxy;
mod refusal;
mod routes;
mod shares;
mod stream;
mod throttle;
mod tls;
mod upstream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use amends_auth::{Revocations, Verifier};
use anyhow::Context as _;
use pingora_core::{
    apps::HttpServerOptions,
    protocols::http::v2::server::{H2Options, default_h2_options},
    server::configuration::ServerConf,
};
use pingora_proxy::HttpProxy;
use service_base::{descriptors::OTHERS, kv::Redis};
use service_kit::Runtime;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub use config::Config;

use crate::{
    admission::Admission, config::millis, connection::Front, health::Health, limits::Limiter, observe::Observer,
    proxy::Gateway, throttle::Throttle, upstream::Resolver,
};

/// Where the gateway listens, ports resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Where callers connect.
    pub public: SocketAddr,
}

/// A gateway that is bound and ready to run.
pub struct App {
    addresses: Addresses,
    listener: TcpListener,
    front: Arc<Front>,
    drain: Duration,
    threads: usize,
    runtime: Runtime,
}

/// Binds the listener and prepares everything. Needs no other service to be up.
///
/// Revoked tokens are read from Redis where `redis_url` is set; without it nothing is ever revoked, so a composition of all
/// services in one process uses [`build_with`].
///
/// # Errors
/// When the address is taken, or a file or URL in the configuration is not what it should be.
pub async fn build(config: Config, runtime: &Runtime) -> anyhow::Result<App> {
    build_with(config, runtime, None).await
}

/// As [`build`], with revocations from the same process.
///
/// # Errors
/// As [`build`].
pub async fn build_with(
    mut config: Config,
    runtime: &Runtime,
    revocations: Option<Arc<dyn Revocations>>,
) -> anyhow::Result<App> {
    within_descriptors(&mut config, runtime)?;
    let redis = Redis::at(&config.redis_url).context("gateway.redis_url is no Redis URL")?;
    let redis = redis.map(|redis| redis.measured(observe::SERVICE, &runtime.metrics));
    let revocations = revocations.unwrap_or_else(|| amends_auth::revocations(redis.clone()));
    let verifier = Verifier::new(config.auth.clone(), Arc::clone(&runtime.clock), &runtime.metrics, revocations)
        .context("no HTTP client for the issuer's keys")?;
    let limiter = match &redis {
        Some(redis) => Limiter::shared(config.rate_limit.clone(), redis.clone()),
        None => Limiter::local(config.rate_limit.clone(), Arc::clone(&runtime.clock)),
    };
    if let Some(redis) = redis {
        runtime.readiness.add("gateway", "redis", move || {
            let redis = redis.clone();
            async move { redis.ready().await.map_err(|error| error.in_words()) }
        });
    }
    let acceptor = config.tls.as_ref().map(|tls| tls::acceptor(tls, &runtime.metrics)).transpose()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("gateway.listen: {} cannot be bound", config.listen))?;
    let addresses = Addresses { public: listener.local_addr().context("the listener has no address")? };

    let observer = Observer::new(runtime);
    let (drain, threads) = (millis(config.timeouts.drain_ms), config.threads);
    let front_config = config.clone();
    let awaited = TaskTracker::new();
    let gateway = Gateway {
        verifier,
        limiter,
        resolver: Resolver::new(&config),
        observer: observer.clone(),
        health: Health::new(runtime.readiness.clone(), runtime.shutdown.clone()),
        ids: Arc::clone(&runtime.ids),
        clock: Arc::clone(&runtime.clock),
        throttle: Throttle::new(),
        admission: Admission::new(&config.limits, &observer),
        awaited: awaited.clone(),
        config,
    };
    let app = Arc::new(pingora(gateway, &front_config));
    let front = Arc::new(Front::new(app, observer, Arc::clone(&runtime.ids), acceptor, awaited, &front_config));
    Ok(App { addresses, listener, front, drain, threads, runtime: runtime.clone() })
}

/// Lowers the limits on connections and requests to what there are file descriptors for, besides those of all that was built before:
/// a gateway is built last. What callers have open must never take the last one from a store or an upstream.
fn within_descriptors(config: &mut Config, runtime: &Runtime) -> anyhow::Result<()> {
    runtime.descriptors.reserve("gateway.limits.connections", connection::TURNED_AWAY_AT_ONCE_MAX + OTHERS)?;
    let connections = runtime.descriptors.share("gateway.limits.connections", 3)?;
    let requests = runtime.descriptors.share("gateway.limits.requests", 4)?;
    let limits = &mut config.limits;
    // Each request has a connection to its upstream, and one upstream's idle connections are still there while another's are used.
    let (connections, requests) = (connections.at_most(limits.connections), (requests.size() / 2).max(1));
    let before = (limits.connections, limits.requests);
    if connections < limits.connections {
        limits.connections = connections;
        limits.connections_per_address = share_of(limits.connections_per_address, before.0, connections);
    }
    if requests < limits.requests {
        limits.requests = requests;
        limits.requests_per_address = share_of(limits.requests_per_address, before.1, requests);
        limits.requests_per_subject = share_of(limits.requests_per_subject, before.1, requests);
    }
    tracing::info!(connections = limits.connections, requests = limits.requests, "callers may have so many at once");
    Ok(())
}

/// What one caller may hold of a total that the process's descriptors have made smaller than the configured one: no more than is
/// configured, and of the rest as much as leaves room for three more like it, or as large a part as is configured where that is more.
fn share_of(configured: usize, before: usize, total: usize) -> usize {
    // Of limits that are far below what a computer can count.
    let same_part = configured.saturating_mul(total) / before.max(1);
    configured.min((total / 4).max(same_part).max(1))
}

impl App {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until shutdown, then lets requests end within the configured bound.
    ///
    /// # Errors
    /// Never at present: a listener that fails to accept waits a little and tries again.
    pub async fn run(self) -> anyhow::Result<()> {
        self.runtime.readiness.started();
        tracing::info!(address = %self.addresses.public, "the gateway listens");
        let serving = self.front.serve(self.listener, self.runtime.shutdown.token(), self.drain);
        match self.threads {
            0 => serving.await,
            threads => Threads::start(threads)?.run(serving).await?,
        }
        tracing::info!("the gateway has stopped");
        Ok(())
    }
}

/// Threads of the gateway's own.
struct Threads(Option<tokio::runtime::Runtime>);

impl Threads {
    fn start(number: usize) -> anyhow::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(number).thread_name("gateway").enable_all().build();
        Ok(Self(Some(runtime.context("the gateway has no threads")?)))
    }

    async fn run(&self, serving: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        match &self.0 {
            Some(runtime) => runtime.spawn(serving).await.context("the gateway has stopped badly"),
            None => Ok(()),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting is not possible here; what it serves ends with it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Pingora's half, set up for our accept loop: its own listeners, threads and signal handling are not used.
fn pingora(gateway: Gateway, config: &Config) -> HttpProxy<Gateway> {
    let server = ServerConf {
        // Shards the pool of connections to upstreams; the runtime's threads are ours.
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        // The first attempt counts. Whether there is another is decided in `proxy`.
        max_retries: 3,
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(gateway, Arc::new(server));
    proxy.handle_init_modules();
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    // Also what bounds a caller that sends one HTTP/2 header block a byte at a time.
    options.h2_idle_timeout = Some(millis(config.timeouts.idle_ms));
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options(config));
    proxy
}

fn h2_options(config: &Config) -> H2Options {
    let mut options = default_h2_options();
    let head = u32::try_from(config.limits.head_bytes).unwrap_or(u32::MAX);
    options.max_header_list_size(head).max_concurrent_streams(config.limits.streams);
    // A caller that opens and resets streams causes work without reading answers: past these the connection ends.
    options.max_concurrent_reset_streams(50).max_pending_accept_reset_streams(20);
    options.initial_connection_window_size(1024 * 1024).initial_window_size(256 * 1024);
    // Answers waiting for a caller who does not read them, per stream.
    options.max_send_buffer_size(256 * 1024);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_descriptors_leave_a_caller_its_part() {
        assert_eq!(share_of(256, 4096, 2806), 256, "a quarter is more than is configured");
        assert_eq!(share_of(256, 4096, 400), 100, "a quarter");
        assert_eq!(share_of(4096, 4096, 2806), 2806, "all of it, as configured");
        assert_eq!(share_of(3072, 4096, 2000), 1500, "three quarters, as configured");
        assert_eq!(share_of(256, 4096, 1), 1);
    }
}
