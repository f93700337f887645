//! One dependency's guard: deadline, retry, breaker, bulkhead, and what they report.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use amends_primitives::Clock;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    BreakerState, Deadline, Resilience,
    breaker::{Breaker, Leave, Outcome},
    budget::Budget,
    bulkhead::{Bulkhead, Refused, Slot},
    pause,
};
use crate::{
    context,
    metrics::{DurationFamily, Metrics, TraceLabel},
};

/// What an error says about the dependency and about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The dependency is well and has answered: a refusal is an answer. Not tried again.
    Answered,
    /// The dependency is not well. Trying again may help, not before `retry_after` if it says so.
    Transient {
        /// What the dependency asks for.
        retry_after: Option<Duration>,
    },
}

/// Errors that say what they mean for the guard.
pub trait Classify {
    /// What this error says.
    fn verdict(&self) -> Verdict;

    /// A label for metrics, of few possible values.
    fn label(&self) -> &'static str;
}

impl Classify for tonic::Status {
    fn verdict(&self) -> Verdict {
        if crate::status::is_unknown(self) {
            Verdict::Transient { retry_after: crate::status::retry_after(self) }
        } else {
            Verdict::Answered
        }
    }

    fn label(&self) -> &'static str {
        context::code_name(self.code())
    }
}

/// Why a guarded call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardError<E> {
    /// The breaker is open. Nothing was sent.
    Open {
        /// When it lets a probe through.
        retry_after: Duration,
    },
    /// Too many calls at once. Nothing was sent.
    Full,
    /// The deadline passed before anything was sent.
    TooLate,
    /// The last attempt was given up. It may have had an effect.
    TimedOut,
    /// The last attempt failed. Whether it may have had an effect is for the error to say.
    Failed(E),
}

impl<E> GuardError<E> {
    /// Whether surely nothing was sent.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Full | Self::TooLate)
    }
}

impl<E: fmt::Display> fmt::Display for GuardError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { .. } => f.write_str("the circuit breaker is open"),
            Self::Full => f.write_str("too many calls at once"),
            Self::TooLate => f.write_str("the deadline passed before the call was made"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GuardError<E> {}

/// One attempt of a call.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// How long it may take: send it along (`grpc-timeout`), so that the other side does not work for nobody.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    peer_service: &'static str,
    rpc_method: &'static str,
    rpc_response_status_code: &'static str,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer_service: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    peer_service: &'static str,
    reason: &'static str,
}

struct Meters {
    calls: DurationFamily<CallLabels>,
    retries: Counter,
    refused: Family<ReasonLabels, Counter>,
    state: Gauge,
    transitions: Family<ReasonLabels, Counter>,
}

struct Inner {
    name: &'static str,
    config: Resilience,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
    budget: Budget,
    bulkhead: Bulkhead,
    meters: Meters,
}

/// Guards the calls to one dependency. Clones share its state.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

impl Guard {
    /// A guard for the dependency of that name (`payment-service`).
    pub fn new(name: &'static str, config: Resilience, clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        let peer = PeerLabels { peer_service: name };
        let gauge = |metric: &str, help: &str| metrics.gauge::<PeerLabels>(metric, help).get_or_create_owned(&peer);
        let meters = Meters {
            calls: metrics
                .durations("rpc_client_call_duration_seconds", "How long calls to other services took, each attempt"),
            retries: metrics
                .counter::<PeerLabels>("retries_total", "Attempts after the first")
                .get_or_create_owned(&peer),
            refused: metrics.counter("calls_refused_total", "Calls that were not made, by reason"),
            state: gauge("circuit_breaker_state", "0 closed, 1 half open, 2 open"),
            transitions: metrics.counter("circuit_breaker_transitions_total", "State changes, by the state entered"),
        };
        let in_flight = gauge("bulkhead_in_flight", "Calls in flight");
        Self(Arc::new(Inner {
            name,
            breaker: Mutex::new(Breaker::new(config.breaker.clone())),
            budget: Budget::new(&config),
            bulkhead: Bulkhead::new(config.bulkhead.clone(), in_flight),
            config,
            clock,
            meters,
        }))
    }

    /// The dependency's name.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Whether calls are let through at the moment.
    pub fn state(&self) -> BreakerState {
        self.0.breaker.lock().state()
    }

    /// How long calls will still be refused by the breaker; `None` when the next one would be let through. For deciding, before
    /// anything is begun, whether it is worth beginning. Unlike [`Guard::state`], which says "open" until somebody calls, it knows when
    /// an open breaker is due to let a probe through.
    pub fn refuses_for(&self) -> Option<Duration> {
        self.0.breaker.lock().refuses_for(self.0.clock.now())
    }

    /// Calls, and calls again while that may help, the budget allows it, and the deadline leaves time.
    ///
    /// `method` is the full gRPC method (`amends.payments.v1.PaymentService/Charge`), for span and metrics. `attempt` is
    /// called once per attempt, inside a client span: requests it makes carry that span's context.
    ///
    /// # Errors
    /// See [`GuardError`]. [`GuardError::nothing_sent`] holds only when no attempt at all was made.
    pub async fn call<T, E, F, Fut>(
        &self,
        method: &'static str,
        deadline: Deadline,
        mut attempt: F,
    ) -> Result<T, GuardError<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        self.0.budget.earn();
        let mut earlier: Option<GuardError<E>> = None;
        for number in 1.. {
            let (slot, leave) = match self.enter(deadline).await {
                Ok(entered) => entered,
                Err(refused) => {
                    self.refused(&refused);
                    return Err(earlier.unwrap_or(refused));
                }
            };
            let timeout = Duration::from_millis(self.0.config.timeout_ms).min(deadline.remaining());
            if timeout.is_zero() {
                return Err(earlier.unwrap_or(GuardError::TooLate));
            }
            let error = match self.attempt(method, Attempt { number, timeout }, slot, leave, &mut attempt).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let retry_after = match &error {
                GuardError::Failed(cause) => match cause.verdict() {
                    Verdict::Answered => return Err(error),
                    Verdict::Transient { retry_after } => retry_after.unwrap_or_default(),
                },
                _ => Duration::ZERO,
            };
            if number >= self.0.config.attempts {
                return Err(error);
            }
            let pause = pause(&self.0.config, number + 1, rand::random()).max(retry_after);
            if pause >= deadline.remaining() {
                return Err(error);
            }
            if !self.0.budget.spend() {
                self.count_refused("retry_budget");
                return Err(error);
            }
            self.0.meters.retries.inc();
            earlier = Some(error);
            tokio::time::sleep(pause).await;
        }
        Err(earlier.unwrap_or(GuardError::TooLate))
    }

    async fn enter<E>(&self, deadline: Deadline) -> Result<(Slot, LeaveHeld<'_>), GuardError<E>> {
        if deadline.has_passed() {
            return Err(GuardError::TooLate);
        }
        let slot = self.0.bulkhead.enter(deadline).await.map_err(|refused| match refused {
            Refused::Full => GuardError::Full,
            Refused::DeadlinePassed => GuardError::TooLate,
        })?;
        let leave = self.with_breaker(Breaker::ask);
        let leave = leave.map_err(|retry_after| GuardError::Open { retry_after })?;
        Ok((slot, LeaveHeld { guard: self, leave, outcome: Outcome::Unsaid }))
    }

    async fn attempt<T, E, F, Fut>(
        &self,
        method: &'static str,
        attempt: Attempt,
        slot: Slot,
        mut leave: LeaveHeld<'_>,
        make: &mut F,
    ) -> Result<T, GuardError<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Classify,
    {
        let span = tracing::info_span!(
            "rpc.client",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            error.type = Empty,
            peer.service = self.0.name,
            service.peer.name = self.0.name,
            retry.attempt = attempt.number,
            circuit_breaker.state = self.state().as_str(),
            bulkhead.in_flight = self.0.bulkhead.in_flight(),
        );
        let began = Instant::now();
        // Made inside the span, so that what it sends names this span as its parent.
        let future = span.in_scope(|| make(attempt));
        let result = tokio::time::timeout(attempt.timeout, future.instrument(span.clone())).await;
        let (label, error_type) = match &result {
            Ok(Ok(_)) => ("OK", ""),
            Ok(Err(error)) => match error.verdict() {
                Verdict::Answered => (error.label(), ""),
                Verdict::Transient { .. } => (error.label(), error.label()),
            },
            Err(_) => ("DEADLINE_EXCEEDED", "timeout"),
        };
        leave.outcome = if error_type.is_empty() { Outcome::Good } else { Outcome::Bad };
        drop(leave);
        drop(slot);
        self.report(&span, method, label, error_type, began.elapsed());
        match result {
            Ok(result) => result.map_err(GuardError::Failed),
            Err(_) => Err(GuardError::TimedOut),
        }
    }

    fn report(&self, span: &Span, method: &'static str, label: &'static str, error_type: &'static str, took: Duration) {
        span.record("rpc.response.status_code", label);
        if !error_type.is_empty() {
            span.record("otel.status_code", "ERROR").record("error.type", error_type);
        }
        let labels =
            CallLabels { peer_service: self.0.name, rpc_method: method, rpc_response_status_code: label, error_type };
        let exemplar = span.in_scope(context::current_trace_id).map(|trace_id| TraceLabel { trace_id });
        self.0.meters.calls.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }

    fn refused<E>(&self, error: &GuardError<E>) {
        match error {
            GuardError::Open { .. } => self.count_refused("breaker_open"),
            GuardError::Full => self.count_refused("bulkhead_full"),
            GuardError::TooLate => self.count_refused("deadline"),
            GuardError::TimedOut | GuardError::Failed(_) => {}
        }
    }

    fn count_refused(&self, reason: &'static str) {
        self.0.meters.refused.get_or_create(&ReasonLabels { peer_service: self.0.name, reason }).inc();
    }

    /// Asks or tells the breaker, and reports where that changed its state.
    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker, amends_primitives::Timestamp) -> T) -> T {
        let now = self.0.clock.now();
        let (result, before, after) = {
            let mut breaker = self.0.breaker.lock();
            let before = breaker.state();
            let result = act(&mut breaker, now);
            (result, before, breaker.state())
        };
        if before != after {
            let (reason, level) = (
                after.as_str(),
                match after {
                    BreakerState::Closed => 0,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open => 2,
                },
            );
            self.0.meters.state.set(level);
            self.0.meters.transitions.get_or_create(&ReasonLabels { peer_service: self.0.name, reason }).inc();
            tracing::warn!(peer = self.0.name, from = before.as_str(), to = reason, "circuit breaker");
        }
        result
    }
}

/// Leave to call, which tells the breaker what came of it, also when the call is given up half-way.
struct LeaveHeld<'a> {
    guard: &'a Guard,
    leave: Leave,
    outcome: Outcome,
}

impl Drop for LeaveHeld<'_> {
    fn drop(&mut self) {
        self.guard.with_breaker(|breaker, now| breaker.note(self.leave, self.outcome, now));
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("name", &self.0.name).field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
