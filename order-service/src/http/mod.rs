//! Inbound REST, one verb a file: DTO, handler, OpenAPI text. Rules are in `app`; codes and statuses in `problem.rs`.
//!
//! Must not know: SQL, sagas' steps, participants.

mod accept;
pub(crate) mod cursor;
pub mod items;
mod object;
pub mod openapi;
pub mod orders;
mod prefer;
pub mod problem;
mod query;

use std::{sync::Arc, time::Duration};

use amends_auth::{AuthError, Claims};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use service_base::problem::Problem;

use crate::{
    app::{Caller, Core, WaitLimits},
    domain::CustomerId,
};

/// An order of 100 lines is below 20 KiB; three times that leaves room for whitespace.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long callers wait.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For the saga's end, unless they say otherwise.
    pub default: Duration,
    /// For the saga's end at the most, whatever they say.
    pub max: Duration,
    /// For everything else.
    pub accept: Duration,
}

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    /// The use cases.
    pub core: Arc<Core>,
    /// How long callers wait.
    pub waits: Waits,
}

impl Api {
    /// How long a caller waits that asks for `wait`, or for nothing in particular.
    pub fn wait_limits(&self, wait: Option<Duration>) -> WaitLimits {
        let wait = wait.unwrap_or(self.waits.default).min(self.waits.max);
        WaitLimits::new(tokio::time::Instant::now(), wait, self.waits.accept)
    }

    /// Until when a read may take.
    pub fn read_until(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.waits.accept
    }
}

/// The routes, without authentication: the server that has them puts a layer around that leaves the caller's [`Claims`].
pub fn routes(api: Api) -> Router {
    Router::new()
        .route("/v1/orders", post(orders::place::handle).get(orders::list::handle))
        .route("/v1/orders/{id}", get(orders::get::handle))
        .route("/v1/orders/{id}/cancel", post(orders::cancel::handle))
        .route("/v1/orders/{id}/saga", get(orders::saga::handle))
        .route("/v1/items", get(items::list::handle))
        .route("/v1/items/{sku}", get(items::get::handle))
        .layer(axum::middleware::from_fn(accept::refuse_the_unacceptable))
        // The innermost limit counts: tighter than the one all our services have.
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// Who may do what, over REST and gRPC alike.
pub(crate) mod scope {
    pub(crate) const READ: &str = "orders:read";
    pub(crate) const WRITE: &str = "orders:write";
    pub(crate) const ADMIN: &str = "orders:admin";
    pub(crate) const ITEMS: &str = "items:read";
}

/// The caller, for reading orders: administrators may without the reader's scope.
pub(crate) fn reader(claims: &Claims) -> Result<Caller, Problem> {
    if !claims.scope.contains(scope::ADMIN) {
        claims.require(scope::READ)?;
    }
    caller(claims)
}

/// The caller, for changing orders.
pub(crate) fn writer(claims: &Claims) -> Result<Caller, Problem> {
    claims.require(scope::WRITE)?;
    caller(claims)
}

fn caller(claims: &Claims) -> Result<Caller, Problem> {
    let malformed = |_| AuthError::Invalid(amends_auth::InvalidToken::Malformed);
    let customer = CustomerId::try_new(claims.sub.as_str()).map_err(malformed)?;
    Ok(Caller { customer, admin: claims.scope.contains(scope::ADMIN) })
}
