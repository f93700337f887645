//! The operators' listener: metrics, liveness, readiness, and faults injected on purpose. Not for callers, so it needs no token; bind it where only operators reach.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{
    Runtime,
    config::{ConfigError, Section},
    descriptors::OPERATORS_MAX,
    faults,
    http::Limits,
    metrics::{self, Metrics},
    readiness::Readiness,
    shutdown::Shutdown,
};

/// `[admin]`: where operators look.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of `/metrics`, `/healthz`, `/readyz` and, outside production, `/faults`.
    pub listen: std::net::SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: std::net::SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

impl Section for Config {
    fn validate(&self, _: &mut Vec<ConfigError>) {}
}

/// Of the operators' listener. Its connections have descriptors of their own, so that it answers also when callers have all others.
pub(crate) const LIMITS: Limits = Limits { connections_max: OPERATORS_MAX, ..Limits::DEFAULT };

/// Serves until shutdown.
///
/// `/healthz` says that the process runs; `/readyz` asks the checks and answers 503 while one fails or shutdown has begun,
/// so that whoever routes stops sending work first.
///
/// # Errors
/// When the listener cannot be served.
pub async fn serve(listener: TcpListener, runtime: &Runtime) -> std::io::Result<()> {
    crate::http::serve_with(listener, router(runtime), LIMITS, runtime.shutdown.clone()).await
}

/// The routes of [`serve`].
pub fn router(runtime: &Runtime) -> Router {
    let Runtime { metrics, readiness, shutdown, faults, .. } = runtime.clone();
    Router::new()
        .route(
            "/metrics",
            get(|State((metrics, _, _)): State<(Metrics, Readiness, Shutdown)>| async move {
                ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode())
            }),
        )
        .route("/healthz", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
        .route("/readyz", get(ready))
        .with_state((metrics, readiness, shutdown))
        .merge(faults::router(faults))
}

async fn ready(State((_, readiness, shutdown)): State<(Metrics, Readiness, Shutdown)>) -> impl IntoResponse {
    let mut checks: BTreeMap<String, String> = BTreeMap::new();
    let mut well = true;
    for (name, result) in readiness.ask().await {
        well &= result.is_ok();
        checks.insert(name, result.map_or_else(|reason| reason, |()| "ok".to_owned()));
    }
    if shutdown.is_triggered() {
        well = false;
        checks.insert("shutdown".to_owned(), "stopping".to_owned());
    }
    let (code, status) = if well { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(serde_json::json!({ "status": status, "checks": checks })))
}
