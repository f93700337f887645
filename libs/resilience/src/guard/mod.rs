//! Calls through a dependency's layers where there is a closure and no service.

use std::{future::Future, sync::Arc, time::Duration};

use amends_primitives::Clock;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{Attempt, BreakerState, Call, Classify, Deadline, Edge, GuardError, Resilience, Stack, stack};
use service_base::metrics::Metrics;

/// Guards the calls to one dependency: its [`Stack`] around whatever closure is called. Clones share its state.
#[derive(Debug, Clone)]
pub struct Guard(Stack);

impl Guard {
    /// A guard for the calls from one service to another.
    pub fn new(edge: Edge, config: &Resilience, clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        Self(stack(edge, config, clock, metrics))
    }

    /// The dependency's name.
    pub const fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The layers, to put them around a service.
    pub const fn stack(&self) -> &Stack {
        &self.0
    }

    /// The same guard for calls that are made once: the caller plans, and shows, the further attempts.
    #[must_use]
    pub fn once(&self) -> Self {
        Self(self.0.clone().attempts(1))
    }

    /// Whether calls are let through at the moment.
    pub fn state(&self) -> BreakerState {
        self.0.breaker().state()
    }

    /// How long calls will still be refused by the breaker; `None` when the next one would be let through. For deciding, before
    /// anything is begun, whether it is worth beginning.
    pub fn refuses_for(&self) -> Option<Duration> {
        self.0.breaker().refuses_for()
    }

    /// The same, and counts as a refused call where the caller therefore begins nothing.
    pub fn refuses_work_for(&self) -> Option<Duration> {
        self.0.breaker().refuses_work_for()
    }

    /// Calls, and calls again while that may help, the budget allows it, and the deadline leaves time.
    ///
    /// `method` is the full gRPC method (`amends.payments.v1.PaymentService/Charge`), for span and metrics. `attempt` is
    /// called once per attempt, inside a client span: requests it makes carry that span's context.
    ///
    /// # Errors
    /// See [`GuardError`]. [`Classify::nothing_sent`] holds of it only when no attempt at all was sent.
    pub async fn call<T, E, F, Fut>(
        &self,
        method: &'static str,
        deadline: Deadline,
        mut attempt: F,
    ) -> Result<T, GuardError<E>>
    where
        F: FnMut(Attempt) -> Fut + Clone,
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        self.send(Call::new(method, deadline, ()), move |call: Call<()>| attempt(call.attempt)).await
    }

    /// Sends a message, in the same way; `send` gets a copy of it for each attempt.
    ///
    /// # Errors
    /// As [`Guard::call`].
    pub async fn send<M, T, E, F, Fut>(&self, call: Call<M>, send: F) -> Result<T, GuardError<E>>
    where
        M: Clone,
        F: FnMut(Call<M>) -> Fut + Clone,
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        self.0.layer().layer(service_fn(send)).oneshot(call).await
    }
}

#[cfg(test)]
mod tests;
