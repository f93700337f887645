//! Work goes on although its caller has hung up: a delayed charge takes effect although its caller gave it up. That is what
//! acquirers do, and what their callers must live with.
//!
//! Must not know: what the work is.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use service_base::{
    context::RequestContext,
    problem::{Code, Problem},
};
use service_kit::{Runtime, shutdown::Shutdown};
use tokio::sync::Semaphore;
use tracing::{Instrument as _, Span};

use crate::config::Config;

/// How long work may go on once the process is told to stop. Cutting it is safe: its repeat finds what it has done.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(2);
/// A caller that comes back after this finds room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All the work there is.
#[derive(Clone)]
pub(super) struct Work {
    in_flight: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Work {
    pub(super) fn new(config: &Config, runtime: &Runtime) -> Self {
        let in_flight = Arc::new(Semaphore::new(config.http.in_flight_max as usize));
        Self { in_flight, shutdown: runtime.shutdown.clone() }
    }
}

pub(super) async fn run_detached(State(work): State<Work>, request: Request, next: Next) -> Result<Response, Problem> {
    let Work { in_flight, shutdown } = work;
    let permit = in_flight.try_acquire_owned().map_err(|_| {
        let problem = Problem::of(Code::Overloaded, "too many requests are at work at once");
        problem.retry_after(RETRY_AFTER)
    })?;
    let stopping = shutdown.clone();
    let work = async move {
        let late = async {
            stopping.triggered().await;
            tokio::time::sleep(STOP_MAX).await;
        };
        let response = tokio::select! {
            response = next.run(request) => Ok(response),
            () = late => Err(Problem::of(Code::Overloaded, "the acquirer is stopping")),
        };
        drop(permit);
        response
    };
    let work = work.instrument(Span::current());
    // A spawned task starts without the request's context.
    let done = match RequestContext::current() {
        Some(context) => shutdown.spawn("acquirer", context.scope(work)),
        None => shutdown.spawn("acquirer", work),
    };
    done.await.map_err(Problem::bug)?
}
