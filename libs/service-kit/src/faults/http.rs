//! Faults before HTTP routes, as axum middleware: `from_fn_with_state(faults, faults::http::inject)`.
//!
//! Must not know: which routes.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::{Faults, Hangup, Injected};
use service_base::problem::{Code, Problem};

/// `Retry-After` has whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lets a request in, or not, and its answer out, or not: 429 with `Retry-After`, 503, 500, a connection that is cut.
///
/// # Errors
/// With what goes wrong on purpose.
pub async fn inject(State(faults): State<Faults>, request: Request, next: Next) -> Result<Response, Problem> {
    match faults.enter(request.extensions().get::<Hangup>()).await {
        Ok(exit) => exit.leave(Ok(next.run(request).await), unavailable),
        Err(Injected::RateLimited) => {
            let problem = Problem::of(Code::RateLimited, "too many requests (injected)");
            Err(problem.retry_after(RETRY_AFTER))
        }
        Err(Injected::Unavailable) => Err(unavailable()),
        Err(Injected::Internal) => Err(Problem::of(Code::Internal, "something went wrong on our side (injected)")),
    }
}

/// Without a time to come back: whether it has happened is in doubt.
fn unavailable() -> Problem {
    Problem::from(Code::Injected)
}
