//! How long one attempt may take.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    task::{self, Context, Poll},
    time::Duration,
};

use futures::future::Either;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Timeout, timeout_at};
use tower::{Layer, Service, ServiceExt as _, util::Oneshot};

use super::{Call, Stopped};

/// A time-out that is noticed this much after its time was noticed by a process without a processor: timers are good for a millisecond.
const STARVED: Duration = Duration::from_millis(100);

/// Gives up an attempt after its time, and never later than the call's deadline, with [`Stopped::TimedOut`]: it may have had an effect.
/// The attempt learns its time ([`Call::into_grpc`] sends it along); one that would have none is [`Stopped::TooLate`] and is not made.
///
/// Not [`tower::timeout`], whose time is the same for each call whatever its deadline. Waiting for the service inside to be ready is
/// part of the attempt, so this layer itself is always ready.
///
/// Where the time-out itself is noticed late, this process had no processor, and the answer may well lie unread: [`Stopped::Starved`].
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer(Duration);

impl TimeoutLayer {
    /// So long for each attempt.
    pub const fn new(timeout: Duration) -> Self {
        Self(timeout)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = TimeoutService<S>;

    fn layer(&self, inner: S) -> TimeoutService<S> {
        TimeoutService { inner, timeout: self.0 }
    }
}

/// See [`TimeoutLayer`].
#[derive(Debug, Clone)]
pub struct TimeoutService<S> {
    inner: S,
    timeout: Duration,
}

impl<S, M> Service<Call<M>> for TimeoutService<S>
where
    S: Service<Call<M>> + Clone,
    S::Error: From<Stopped>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, TimeoutFuture<Oneshot<S, Call<M>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<M>) -> Self::Future {
        let timeout = self.timeout.min(call.deadline.remaining());
        if timeout.is_zero() {
            return Either::Left(ready(Err(Stopped::TooLate.into())));
        }
        call.attempt.timeout = timeout;
        let until = Instant::now() + timeout;
        Either::Right(TimeoutFuture { attempt: timeout_at(until, self.inner.clone().oneshot(call)), until })
    }
}

pin_project! {
    /// An attempt with this time.
    pub struct TimeoutFuture<F> {
        #[pin]
        attempt: Timeout<F>,
        until: Instant,
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<Stopped>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = self.project();
        let attempt = task::ready!(this.attempt.poll(context));
        Poll::Ready(attempt.unwrap_or_else(|_| {
            let is_starved = this.until.elapsed() >= STARVED;
            Err(if is_starved { Stopped::Starved } else { Stopped::TimedOut }.into())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        GuardError,
        testing::{Answer, Dependency, LONG, TestFailure, call, call_within},
    };

    const HALF: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_with_its_time_or_with_the_deadline() {
        let dependency = Dependency::that([Answer::Hang]);
        let service = TimeoutLayer::new(HALF).layer(dependency.guarded());
        for (left, expected) in [(LONG, HALF), (HALF / 2, HALF / 2)] {
            let began = Instant::now();
            assert_eq!(service.clone().oneshot(call_within(left)).await, Err(GuardError::TimedOut));
            assert_eq!((began.elapsed(), dependency.live()), (expected, 0));
        }
        assert_eq!(dependency.calls(), 2);
        assert_eq!(service.oneshot(call_within(Duration::ZERO)).await, Err(GuardError::TooLate));
        assert_eq!(dependency.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_noticed_late_is_our_own_starvation() {
        let service = TimeoutLayer::new(HALF).layer(Dependency::that([Answer::Hang]).guarded());
        for (late, expected) in [(STARVED / 2, GuardError::TimedOut), (STARVED, GuardError::Starved)] {
            let mut attempt = Box::pin(service.clone().oneshot(call()));
            assert!(futures::poll!(&mut attempt).is_pending());
            // Nothing of this process is polled meanwhile.
            tokio::time::advance(HALF + late).await;
            assert_eq!(attempt.await, Err(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_knows_how_long_it_may_take() {
        let dependency = Dependency::that([Answer::Done]);
        let service = TimeoutLayer::new(HALF).layer(dependency.guarded());
        service.clone().oneshot(call()).await.unwrap();
        service.oneshot(call_within(HALF / 5)).await.unwrap();
        let told: Vec<Duration> = dependency.attempts().iter().map(|attempt| attempt.timeout).collect();
        assert_eq!(told, [HALF, HALF / 5]);
    }

    /// Never ready, like a channel that cannot connect.
    #[derive(Clone)]
    struct NeverReady;

    impl Service<Call<()>> for NeverReady {
        type Response = ();
        type Error = GuardError<TestFailure>;
        type Future = Ready<Result<(), GuardError<TestFailure>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }

        fn call(&mut self, _: Call<()>) -> Self::Future {
            panic!("called before it was ready")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_until_it_is_ready_is_part_of_the_attempt() {
        let service = TimeoutLayer::new(HALF).layer(NeverReady);
        assert_eq!(service.oneshot(call()).await, Err(GuardError::TimedOut));
    }
}
