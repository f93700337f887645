//! What is seen of one attempt: a client span, and how long it took.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{Instrument as _, field::Empty, instrument::Instrumented};

use super::{
    BreakerLayer, BulkheadLayer, Call, Classify, Verdict,
    meters::{Calls, Edge, Refused},
};
use service_base::metrics::Metrics;

/// Puts each attempt into a client span, with where the dependency's breaker and bulkhead stand, and measures it.
#[derive(Clone)]
pub struct ObserveLayer {
    dependency: &'static str,
    breaker: BreakerLayer,
    bulkhead: BulkheadLayer,
    calls: Arc<Calls>,
    refused: Refused,
}

impl ObserveLayer {
    /// For attempts that passed this breaker and this bulkhead.
    pub fn new(edge: Edge, breaker: &BreakerLayer, bulkhead: &BulkheadLayer, metrics: &Metrics) -> Self {
        Self {
            dependency: edge.callee(),
            breaker: breaker.clone(),
            bulkhead: bulkhead.clone(),
            calls: Arc::new(Calls::new(edge, metrics)),
            refused: Refused::new(edge, metrics),
        }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = ObserveService<S>;

    fn layer(&self, inner: S) -> ObserveService<S> {
        ObserveService { inner, layer: self.clone() }
    }
}

/// See [`ObserveLayer`].
#[derive(Clone)]
pub struct ObserveService<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S, M> Service<Call<M>> for ObserveService<S>
where
    S: Service<Call<M>>,
    S::Error: Classify,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call<M>) -> Self::Future {
        let ObserveLayer { dependency, breaker, bulkhead, calls, refused } = &self.layer;
        let method = call.method;
        let span = tracing::info_span!(
            "rpc.client",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.status_code = Empty,
            error.type = Empty,
            peer.service = dependency,
            service.peer.name = dependency,
            retry.attempt = i64::from(call.attempt.number),
            circuit_breaker.state = breaker.state().as_str(),
            bulkhead.in_flight = bulkhead.in_flight(),
        );
        let began = Instant::now();
        // Made inside the span, so that what it sends names this span as its parent.
        let attempt = span.in_scope(|| self.inner.call(call)).instrument(span);
        ObserveFuture { attempt, calls: Arc::clone(calls), refused: refused.clone(), method, began }
    }
}

pin_project! {
    /// An attempt in its span.
    pub struct ObserveFuture<F> {
        #[pin]
        attempt: Instrumented<F>,
        calls: Arc<Calls>,
        refused: Refused,
        method: &'static str,
        began: Instant,
    }
}

impl<F, T, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Classify,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        let result = task::ready!(this.attempt.as_mut().poll(context));
        let span = this.attempt.span();
        let (label, error_type) = match &result {
            Ok(_) => ("OK", ""),
            // It was not made, so there is nothing to measure.
            Err(error) if error.verdict() == Verdict::NotSent => {
                // Its time was over just then; or it was given up without a token, for example, which has an alert of its own.
                let reason = if error.label() == "DEADLINE_EXCEEDED" { "deadline" } else { "not_sent" };
                span.record("otel.status_code", "ERROR").record("error.type", reason);
                this.refused.count(reason);
                return Poll::Ready(result);
            }
            Err(error) => (error.label(), error.error_type()),
        };
        span.record("rpc.status_code", label);
        if !error_type.is_empty() {
            span.record("otel.status_code", "ERROR").record("error.type", error_type);
        }
        this.calls.observe(span, this.method, label, error_type, this.began.elapsed());
        Poll::Ready(result)
    }
}
