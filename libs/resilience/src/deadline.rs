//! The layer that refuses what is already too late.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::Either;
use tower::{Layer, Service};

use super::{
    Call, Deadline, Stopped,
    meters::{Edge, Refused},
};
use service_base::metrics::Metrics;

/// Caps a call's deadline, and refuses with [`Stopped::TooLate`] what has passed it, before anything is done.
///
/// It holds no timer: whatever waits inside (a queue, a pause, an attempt) keeps to the deadline that the [`Call`] carries, and can say
/// better than this layer whether something had been sent by then.
#[derive(Clone)]
pub struct DeadlineLayer {
    longest: Duration,
    refused: Refused,
}

impl DeadlineLayer {
    /// No call takes longer than `longest`, whatever its caller allows.
    pub fn new(edge: Edge, longest: Duration, metrics: &Metrics) -> Self {
        Self { longest, refused: Refused::new(edge, metrics) }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, layer: self.clone() }
    }
}

/// See [`DeadlineLayer`].
#[derive(Clone)]
pub struct DeadlineService<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, M> Service<Call<M>> for DeadlineService<S>
where
    S: Service<Call<M>>,
    S::Error: From<Stopped>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call<M>) -> Self::Future {
        call.deadline = call.deadline.min(Deadline::after(self.layer.longest));
        if call.deadline.has_passed() {
            self.layer.refused.count("deadline");
            return Either::Left(ready(Err(Stopped::TooLate.into())));
        }
        Either::Right(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::{
        GuardError,
        testing::{EDGE, TestFailure, call_within},
    };

    #[tokio::test(start_paused = true)]
    async fn an_expired_deadline_is_refused_at_once_and_a_long_one_capped() {
        let metrics = Metrics::new();
        let left = |call: Call<()>| ready(Ok::<_, GuardError<TestFailure>>(call.deadline.remaining()));
        let service = DeadlineLayer::new(EDGE, Duration::from_secs(5), &metrics).layer(service_fn(left));
        let within = |secs| service.clone().oneshot(call_within(Duration::from_secs(secs)));
        assert_eq!(within(3).await, Ok(Duration::from_secs(3)));
        assert_eq!(within(300).await, Ok(Duration::from_secs(5)));
        assert_eq!(within(0).await, Err(GuardError::TooLate));
        let page = metrics.encode();
        let line = r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="deadline"} 1"#;
        assert!(page.contains(line), "{page}");
    }
}
