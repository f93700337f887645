//! The operators' listener: metrics, liveness, readiness, recent log lines, and faults injected on purpose. Not for callers, so it needs no token; bind it where only operators reach.

pub(crate) mod faults;
mod logs;

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{Runtime, http, readiness::Readiness, shutdown::Shutdown};
use service_base::{
    config::{ConfigError, Section},
    descriptors::OPERATORS_MAX,
    metrics::{Format, Metrics},
};

/// `[admin]`: where operators look.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of `/metrics`, `/healthz`, `/readyz`, `/logs` and, outside production, `/faults`.
    pub listen: std::net::SocketAddr,
    /// Milliseconds between a first signal, from which on `/readyz` answers 503, and the start of draining: as long as a load balancer
    /// needs to hear of it. Meanwhile requests are served as ever.
    pub drain_delay_ms: u64,
}

/// More than orchestrators grant a process to end.
const DRAIN_DELAY_MAX_MS: u64 = 600_000;
/// How long operators' requests may take once everything else has ended: metrics are written in milliseconds.
const DRAIN_MAX: Duration = Duration::from_millis(250);

impl Config {
    /// How long draining waits after the first signal.
    pub const fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: std::net::SocketAddr::from(([127, 0, 0, 1], 9090)), drain_delay_ms: 0 }
    }
}

impl Section for Config {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        if self.drain_delay_ms > DRAIN_DELAY_MAX_MS {
            errors.push(ConfigError::new("drain_delay_ms", format!("must be at most {DRAIN_DELAY_MAX_MS}")));
        }
    }
}

/// Of the operators' listener. Its connections have descriptors of their own, so that it answers also when callers have all others.
const LIMITS: http::Limits =
    http::Limits { connections_max: OPERATORS_MAX, drain_max: DRAIN_MAX, ..http::Limits::DEFAULT };

/// Serves until `stop`, which is the last to come: operators watch the draining here.
///
/// `/healthz` says that the process runs; `/readyz` asks the checks and answers 503 while one fails or once shutdown is announced,
/// so that load balancers stop sending work first. What other services cannot do at the moment stands there as `degraded` and
/// changes nothing about the status.
///
/// # Errors
/// When the listener cannot be served.
pub async fn serve(listener: TcpListener, runtime: &Runtime, stop: Shutdown) -> std::io::Result<()> {
    http::serve_with(listener, router(runtime), LIMITS, stop).await
}

/// The routes of [`serve`].
pub fn router(runtime: &Runtime) -> Router {
    let Runtime { metrics, readiness, shutdown, faults, .. } = runtime.clone();
    Router::new()
        .route(
            "/metrics",
            get(|State((metrics, _, _)): State<(Metrics, Readiness, Shutdown)>, headers: HeaderMap| async move {
                let format = Format::of(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
                ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], metrics.encode_as(format))
            }),
        )
        .route("/healthz", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
        .route("/readyz", get(ready))
        .with_state((metrics, readiness, shutdown))
        .merge(faults::router(faults))
        .merge(logs::router())
}

async fn ready(State((_, readiness, shutdown)): State<(Metrics, Readiness, Shutdown)>) -> impl IntoResponse {
    let mut checks: BTreeMap<String, String> = BTreeMap::new();
    let mut well = true;
    let (deciding, reported) = tokio::join!(readiness.ask(), readiness.ask_reported());
    for (name, result) in deciding {
        well &= result.is_ok();
        checks.insert(name, result.map_or_else(|reason| reason, |()| "ok".to_owned()));
    }
    if shutdown.is_announced() {
        well = false;
        checks.insert("shutdown".to_owned(), "stopping".to_owned());
    }
    let (code, status) = if well { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let mut body = serde_json::json!({ "status": status, "checks": checks });
    let degraded: BTreeMap<String, String> =
        reported.into_iter().filter_map(|(name, result)| Some((name, result.err()?))).collect();
    if !degraded.is_empty() {
        body["degraded"] = serde_json::json!(degraded);
    }
    (code, Json(body))
}
