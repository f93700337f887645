//! Serving HTTP: limits on everything, panics become problems, and draining that ends.

mod drain;
mod json;
mod local;
mod server;
mod strict;
mod unread;

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};

use crate::{
    Runtime,
    observe::{Observer, observe},
};
use amends_resilience::{InFlight, shed};
use service_base::problem::{Code, Problem};

pub use json::{JsonBody, read_json};
pub(crate) use local::{Local, Lost};
pub(crate) use server::serve_also;
pub use server::{LAST_CALL, Limits, serve, serve_with};

/// Larger bodies are refused with 413. A service may set less: an order, the largest of ours, is below 20 KiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Requests that one service answers at once: each may hold a saga for seconds, and more would only wait for a store.
pub const IN_FLIGHT_MAX: usize = 2048;
/// A body that does not move for this long is given up.
const BODY_IDLE_MAX: Duration = Duration::from_secs(15);

/// Puts around a service's routes what all of ours have: context, span and RED metrics; 404 and 405 as problems; a limit on
/// bodies; 415 for coded ones; 503 when there is too much to do; panics as 500 problems.
pub fn app(router: Router, service: &'static str, runtime: &Runtime) -> Router {
    router
        .fallback(|| async { Problem::from(Code::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::from(Code::MethodNotAllowed) })
        .layer(CatchPanicLayer::custom(|panic| panicked(&panic).into_response()))
        .layer(from_fn(strict::refuse_coded))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(BODY_IDLE_MAX))
        .layer(from_fn_with_state(InFlight::new(service, IN_FLIGHT_MAX, &runtime.metrics), shed))
        .layer(from_fn_with_state(Observer::http(service, runtime), observe))
}

/// What a panic becomes. The panic hook has logged it already.
fn panicked(panic: &Box<dyn Any + Send>) -> Problem {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::bug(format_args!("panicked: {}", text.unwrap_or("(no text)")))
}

/// What a panic becomes for a gRPC caller.
pub(crate) fn panicked_grpc(panic: &Box<dyn Any + Send>) -> Response {
    tonic::Status::from(panicked(panic)).into_http()
}

#[cfg(test)]
mod tests;
