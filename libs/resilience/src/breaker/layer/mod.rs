//! The circuit breaker around a service.

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{self, Context, Poll},
    time::Duration,
};

use amends_primitives::{Clock, Moment};
use futures::future::Either;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{
    super::meters::{BREAKER_OPEN, Edge, Refused, Transitions},
    Breaker, BreakerState, Outcome, Permit,
};
use crate::{BreakerConfig, Classify, Stopped, Verdict};
use service_base::metrics::Metrics;

struct Shared {
    rules: Mutex<Breaker>,
    clock: Arc<dyn Clock>,
    transitions: Transitions,
    refused: Refused,
}

impl Shared {
    /// Asks or tells the rules, and reports where that changed the state.
    fn with_rules<T>(&self, act: impl FnOnce(&mut Breaker, Moment) -> T) -> T {
        let now = self.clock.moment();
        let (result, before, after) = {
            let mut rules = self.rules.lock();
            let before = rules.state();
            let result = act(&mut rules, now);
            (result, before, rules.state())
        };
        if before != after {
            self.transitions.count(before, after);
        }
        result
    }
}

/// Refuses with [`Stopped::Open`] while the dependency has failed. Asked when the call is made, so that what waited in a queue is
/// asked anew.
///
/// What an error says of the dependency is its [`Verdict`]: an answer is good whatever it says, [`Verdict::Transient`] is a failure, and
/// what was not sent, or is given up half-way by its caller, counts for nothing. Nor does what came upon a limit, since a dependency that
/// says when to come back protects itself; unless nothing else comes back. Nor does [starvation](Classify::is_starvation) of our own. Clones,
/// and the services made by them, share one state.
#[derive(Clone)]
pub struct BreakerLayer {
    shared: Arc<Shared>,
    counts_slowness: bool,
}

impl BreakerLayer {
    /// A closed one.
    pub fn new(edge: Edge, config: &BreakerConfig, clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        let shared = Shared {
            rules: Mutex::new(Breaker::new(config.clone())),
            clock,
            transitions: Transitions::new(edge, metrics),
            refused: Refused::new(edge, metrics),
        };
        Self { shared: Arc::new(shared), counts_slowness: true }
    }

    /// The same, but what [says nothing but slowness](Classify::is_slowness) counts for nothing: for a dependency in this process.
    #[must_use]
    pub fn ignoring_slowness(self) -> Self {
        Self { counts_slowness: false, ..self }
    }

    /// Whether calls are let through at the moment.
    pub fn state(&self) -> BreakerState {
        self.shared.rules.lock().state()
    }

    /// How long calls will still be refused; `None` when the next one would be let through. Unlike [`BreakerLayer::state`], which says
    /// "open" until the next call, it knows when an open breaker is due to let a probe through.
    pub fn refuses_for(&self) -> Option<Duration> {
        self.shared.rules.lock().refuses_for(self.shared.clock.moment())
    }

    /// The same, for a caller that does not begin what would need the dependency: where it would be refused, that counts as a call that
    /// was. Otherwise an outage would be all the quieter for being noticed.
    pub fn refuses_work_for(&self) -> Option<Duration> {
        self.refuses_for().inspect(|_| self.shared.refused.count(BREAKER_OPEN))
    }
}

impl fmt::Debug for BreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = BreakerService<S>;

    fn layer(&self, inner: S) -> BreakerService<S> {
        BreakerService { inner, layer: self.clone() }
    }
}

/// See [`BreakerLayer`].
#[derive(Debug, Clone)]
pub struct BreakerService<S> {
    inner: S,
    layer: BreakerLayer,
}

impl<S, M> Service<M> for BreakerService<S>
where
    S: Service<M>,
    S::Error: Classify + From<Stopped>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, BreakerFuture<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Not asked here: a permit given now may be stale when the call is made, and is lost when it never is.
        self.inner.poll_ready(context)
    }

    fn call(&mut self, message: M) -> Self::Future {
        let shared = &self.layer.shared;
        match shared.with_rules(Breaker::ask) {
            Ok(permit) => {
                let permit = HeldPermit { shared: Arc::clone(shared), permit, outcome: Outcome::Abandoned };
                let counts_slowness = self.layer.counts_slowness;
                let state = State::Running { inner: self.inner.call(message), permit, counts_slowness };
                Either::Right(BreakerFuture { state })
            }
            Err(retry_after) => {
                shared.refused.count(BREAKER_OPEN);
                Either::Left(ready(Err(Stopped::Open { retry_after }.into())))
            }
        }
    }
}

/// A permit for a call, which tells the rules its outcome, also when the call is given up half-way.
struct HeldPermit {
    shared: Arc<Shared>,
    permit: Permit,
    outcome: Outcome,
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.shared.with_rules(|rules, now| rules.note(self.permit, self.outcome, now));
    }
}

pin_project! {
    /// A call that was let through.
    pub struct BreakerFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Running { #[pin] inner: F, permit: HeldPermit, counts_slowness: bool },
        Done,
    }
}

impl<F, T, E> Future for BreakerFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Classify,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        let StateProjection::Running { inner, permit, counts_slowness } = this.state.as_mut().project() else {
            // Polled after it was ready, which callers must not do.
            return Poll::Pending;
        };
        let result = task::ready!(inner.poll(context));
        let says_nothing = |error: &E| error.is_starvation() || (!*counts_slowness && error.is_slowness());
        let says_nothing = result.as_ref().err().is_some_and(says_nothing);
        permit.outcome = match result.as_ref().err().map(Classify::verdict) {
            None | Some(Verdict::Answered) => Outcome::Good,
            Some(Verdict::Transient { .. }) if says_nothing => Outcome::Abandoned,
            Some(Verdict::Transient { .. }) => Outcome::Bad,
            Some(Verdict::Limited { .. }) => Outcome::Limited,
            Some(Verdict::NotSent) => Outcome::Abandoned,
        };
        // Told now, not when the caller drops this future.
        this.state.set(State::Done);
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests;
