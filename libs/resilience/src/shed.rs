//! Load shedding: a server that has more to do than it can answer in time says so at once.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

use service_base::{
    metrics::{Metrics, requests_shed},
    problem::{Code, Problem},
    wire,
};

/// How many more requests [`shed`] lets in.
#[derive(Debug, Clone)]
pub struct InFlight {
    permits: Arc<Semaphore>,
    shed: Counter,
}

impl InFlight {
    /// At most `max` requests at once.
    pub fn new(service: &'static str, max: usize, metrics: &Metrics) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), shed: requests_shed(service, metrics) }
    }
}

/// Middleware, as `from_fn_with_state(InFlight::new(…), shed)`: answers 503 `overloaded` (gRPC: `UNAVAILABLE`) with a time to wait when
/// too many requests are being answered. Nothing queues here: the queue would hold requests whose callers have left.
pub async fn shed(State(in_flight): State<InFlight>, request: Request, next: Next) -> Response {
    let Ok(_permit) = in_flight.permits.try_acquire() else {
        in_flight.shed.inc();
        let detail = "too many requests are being answered";
        let problem = Problem::of(Code::Overloaded, detail).retry_after(Duration::from_secs(1));
        return if wire::is_grpc(request.headers()) {
            tonic::Status::from(problem).into_http()
        } else {
            problem.into_response()
        };
    };
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::Request, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_request_too_many_is_told_to_come_back() {
        let gate = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&gate);
        let handler = move || async move {
            let _ = waiting.acquire().await;
            "done"
        };
        let one = from_fn_with_state(InFlight::new("test", 1, &Metrics::new()), shed);
        let app = Router::new().route("/", get(handler)).layer(one);
        let request = |kind: &str| Request::get("/").header("content-type", kind).body(Body::empty()).unwrap();
        let first = tokio::spawn(app.clone().oneshot(request("x")));
        tokio::task::yield_now().await;
        let refused = app.clone().oneshot(request("x")).await.unwrap();
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
        let refused = app.clone().oneshot(request("application/grpc")).await.unwrap();
        assert_eq!((refused.status().as_u16(), refused.headers()["grpc-status"].to_str().unwrap()), (200, "14"));
        gate.add_permits(10);
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
        assert_eq!(app.oneshot(request("x")).await.unwrap().status(), 200);
    }
}
