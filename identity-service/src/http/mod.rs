//! Inbound HTTP, one endpoint a file.
//!
//! Must not know: SQL, Redis, the rules.

mod address;
mod form;
mod introspect;
mod jwks;
mod login;
mod metadata;
mod problem;
mod revoke;
mod token;

use std::sync::{Arc, atomic::AtomicBool};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use crate::app::Core;
use service_base::peer::Network;

/// No request to this service is near this; a subject token has 1 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;

/// What handlers need.
#[derive(Clone)]
pub(crate) struct HttpState {
    /// The use cases.
    pub core: Arc<Core>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<[Network]>,
    /// Whether it was said that a proxy is not among them.
    pub unnamed_proxy: Arc<AtomicBool>,
    /// `Cache-Control` of the key set.
    pub jwks_max_age_secs: u64,
}

/// The routes of this service.
pub(crate) fn router(state: HttpState) -> Router {
    Router::new()
        .route("/auth/login", post(login::handle))
        .route("/oauth2/token", post(token::handle))
        .route("/oauth2/introspect", post(introspect::handle))
        .route("/oauth2/revoke", post(revoke::handle))
        .route("/.well-known/jwks.json", get(jwks::handle))
        .route("/.well-known/oauth-authorization-server", get(metadata::handle))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}
