//! The layers around one dependency, in their order.

use std::{fmt, sync::Arc, time::Duration};

use amends_primitives::Clock;
use tower::{Layer, ServiceBuilder, retry::Retry, util::MapErr};

use super::{
    BreakerLayer, BreakerService, BulkheadLayer, BulkheadService, DeadlineLayer, DeadlineService, Edge, GuardError,
    ObserveLayer, ObserveService, Resilience, RetryLayer, RetryPolicy, TimeoutLayer, TimeoutService,
};
use service_base::metrics::Metrics;

/// The layers around one dependency: what they know of it (breaker, permits, retry budget) is shared by every service they are put around.
///
/// From the outside in: **deadline** (what is too late is not begun) → **retry** (its pauses hold no permit, and each attempt is let in
/// anew) → **bulkhead** (with its queue) → **breaker** (asked when the call is about to be made, not when it began to wait) →
/// **observe** (a span per attempt that was made) → **timeout** (of one attempt). The page `docs/resilience.md` says why.
#[derive(Clone)]
pub struct Stack {
    name: &'static str,
    deadline: DeadlineLayer,
    retry: RetryLayer<()>,
    bulkhead: BulkheadLayer,
    breaker: BreakerLayer,
    observe: ObserveLayer,
    timeout: TimeoutLayer,
}

/// The layers around calls from one service to another. One per dependency and process: a second one would know nothing of
/// the calls made through the first.
pub fn stack(edge: Edge, config: &Resilience, clock: Arc<dyn Clock>, metrics: &Metrics) -> Stack {
    let bulkhead = BulkheadLayer::new(edge, &config.bulkhead, metrics);
    let breaker = BreakerLayer::new(edge, &config.breaker, clock, metrics);
    let breaker = if config.in_process { breaker.ignoring_slowness() } else { breaker };
    Stack {
        name: edge.callee(),
        deadline: DeadlineLayer::new(edge, Duration::from_millis(config.deadline_ms_max), metrics),
        retry: RetryLayer::new(edge, config, metrics),
        observe: ObserveLayer::new(edge, &breaker, &bulkhead, metrics),
        timeout: TimeoutLayer::new(config.attempt_max()),
        bulkhead,
        breaker,
    }
}

impl Stack {
    /// The dependency's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its breaker.
    pub const fn breaker(&self) -> &BreakerLayer {
        &self.breaker
    }

    /// Its bulkhead.
    pub const fn bulkhead(&self) -> &BulkheadLayer {
        &self.bulkhead
    }

    /// The same layers with another number of attempts: 1 where the caller plans the further ones.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retry = self.retry.attempts(attempts);
        self
    }

    /// For services whose error is `E`.
    pub fn layer<E>(&self) -> StackLayer<E> {
        StackLayer { stack: self.clone(), failed: GuardError::Failed }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("name", &self.name)
            .field("breaker", &self.breaker)
            .field("bulkhead", &self.bulkhead)
            .finish_non_exhaustive()
    }
}

/// A [`Stack`] for services whose error is `E`; around it the error is [`GuardError<E>`].
#[derive(Clone, Debug)]
pub struct StackLayer<E> {
    stack: Stack,
    failed: fn(E) -> GuardError<E>,
}

/// A service with all layers around it.
pub type Stacked<S, E> = DeadlineService<Retry<RetryPolicy<GuardError<E>>, Admitted<Attempted<S, E>>>>;

/// What each attempt has to pass.
type Admitted<S> = BulkheadService<BreakerService<S>>;

/// One attempt.
type Attempted<S, E> = ObserveService<TimeoutService<MapErr<S, fn(E) -> GuardError<E>>>>;

impl<S, E> Layer<S> for StackLayer<E> {
    type Service = Stacked<S, E>;

    fn layer(&self, inner: S) -> Stacked<S, E> {
        let stack = self.stack.clone();
        ServiceBuilder::new()
            .layer(stack.deadline)
            .layer(stack.retry.of::<GuardError<E>>())
            .layer(stack.bulkhead)
            .layer(stack.breaker)
            .layer(stack.observe)
            .layer(stack.timeout)
            .map_err(self.failed)
            .service(inner)
    }
}

#[cfg(test)]
mod tests;
