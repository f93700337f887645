//! Load shedding: a server that has more to do than it can answer in time says so at once.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use service_base::{
    metrics::Metrics,
    problem::{Code, Problem},
    wire,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// Answers 503 `overloaded` (gRPC: `UNAVAILABLE`) with a time to wait when too many requests are being answered.
/// Nothing queues here: the queue would hold requests whose callers have left.
#[derive(Clone)]
pub struct ShedLayer {
    permits: Arc<Semaphore>,
    shed: Counter,
}

impl ShedLayer {
    /// At most `in_flight_max` requests at once.
    pub fn new(service: &'static str, in_flight_max: usize, metrics: &Metrics) -> Self {
        let shed =
            metrics.counter::<ServiceLabels>("requests_shed_total", "Requests refused because of too many others");
        Self {
            permits: Arc::new(Semaphore::new(in_flight_max)),
            shed: shed.get_or_create_owned(&ServiceLabels { service }),
        }
    }
}

impl std::fmt::Debug for ShedLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShedLayer").field("free", &self.permits.available_permits()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = ShedService<S>;

    fn layer(&self, inner: S) -> ShedService<S> {
        ShedService { inner, layer: self.clone() }
    }
}

/// See [`ShedLayer`].
#[derive(Debug, Clone)]
pub struct ShedService<S> {
    inner: S,
    layer: ShedLayer,
}

impl<S> Service<Request> for ShedService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.layer.permits).try_acquire_owned() else {
            self.layer.shed.inc();
            let detail = "too many requests are being answered";
            let problem = Problem::of(Code::Overloaded, detail).retry_after(Duration::from_secs(1));
            let response = if wire::is_grpc(request.headers()) {
                tonic::Status::from(problem).into_http()
            } else {
                problem.into_response()
            };
            return Box::pin(std::future::ready(Ok(response)));
        };
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let response = inner.call(request).await;
            drop(permit);
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::Request, routing::get};
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
        let app = Router::new().route("/", get(handler)).layer(ShedLayer::new("test", 1, &Metrics::new()));
        let request = |kind: &str| Request::get("/").header("content-type", kind).body(Body::empty()).unwrap();
        let first = tokio::spawn(app.clone().oneshot(request("x")));
        tokio::task::yield_now().await;
        let shed = app.clone().oneshot(request("x")).await.unwrap();
        assert_eq!((shed.status().as_u16(), shed.headers()["retry-after"].to_str().unwrap()), (503, "1"));
        let shed = app.clone().oneshot(request("application/grpc")).await.unwrap();
        assert_eq!((shed.status().as_u16(), shed.headers()["grpc-status"].to_str().unwrap()), (200, "14"));
        gate.add_permits(10);
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
        assert_eq!(app.oneshot(request("x")).await.unwrap().status(), 200);
    }
}
