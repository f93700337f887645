//! What the layers count, by dependency. Names and labels are what dashboards, alerts and runbooks ask for.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tracing::Span;

use super::BreakerState;
use service_base::metrics::{DurationFamily, Metrics, TraceLabel};

/// Who calls whom: what everything is counted by. The callee's name is a label twice, since `service.peer.name` has taken the place of
/// `peer.service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Edge {
    service: &'static str,
    peer_service: &'static str,
    service_peer_name: &'static str,
}

impl Edge {
    /// From one service to another.
    pub const fn new(caller: &'static str, callee: &'static str) -> Self {
        Self { service: caller, peer_service: callee, service_peer_name: callee }
    }

    /// Who is called.
    pub const fn callee(self) -> &'static str {
        self.peer_service
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    #[prometheus(flatten)]
    edge: Edge,
    rpc_method: &'static str,
    rpc_status_code: &'static str,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    #[prometheus(flatten)]
    edge: Edge,
    reason: &'static str,
}

/// How long attempts took.
pub(super) struct Calls {
    edge: Edge,
    family: DurationFamily<CallLabels>,
}

impl Calls {
    pub(super) fn new(edge: Edge, metrics: &Metrics) -> Self {
        let help = "How long calls to other services took, each attempt";
        Self { edge, family: metrics.durations("rpc_client_call_duration_seconds", help) }
    }

    pub(super) fn observe(
        &self,
        span: &Span,
        rpc_method: &'static str,
        rpc_status_code: &'static str,
        error_type: &'static str,
        took: Duration,
    ) {
        let labels = CallLabels { edge: self.edge, rpc_method, rpc_status_code, error_type };
        self.family.get_or_create(&labels).observe(took.as_secs_f64(), TraceLabel::of(span), None);
    }
}

/// Calls and retries that were not made.
#[derive(Clone)]
pub(super) struct Refused {
    edge: Edge,
    family: Family<ReasonLabels, Counter>,
}

impl Refused {
    pub(super) fn new(edge: Edge, metrics: &Metrics) -> Self {
        let family = metrics.counter("calls_refused_total", "Calls that were not made, by reason");
        let refused = Self { edge, family };
        // Shown from the start: the first refusals of an outage are a change of a series, not a new one, whose first value no rate has.
        drop(refused.family.get_or_create(&refused.labels(BREAKER_OPEN)));
        refused
    }

    fn labels(&self, reason: &'static str) -> ReasonLabels {
        ReasonLabels { edge: self.edge, reason }
    }

    pub(super) fn count(&self, reason: &'static str) {
        self.family.get_or_create(&self.labels(reason)).inc();
    }
}

/// The reason of a call that an open breaker refused, or that was not begun because one is open.
pub(super) const BREAKER_OPEN: &str = "breaker_open";

pub(super) fn retries(edge: Edge, metrics: &Metrics) -> Counter {
    metrics.counter::<Edge>("retries_total", "Attempts after the first").get_or_create_owned(&edge)
}

pub(super) fn in_flight(edge: Edge, metrics: &Metrics) -> Gauge {
    metrics.gauge::<Edge>("bulkhead_in_flight", "Calls in flight").get_or_create_owned(&edge)
}

/// Where the breaker stands, and how it got there.
pub(super) struct Transitions {
    edge: Edge,
    state: Gauge,
    family: Family<ReasonLabels, Counter>,
}

impl Transitions {
    pub(super) fn new(edge: Edge, metrics: &Metrics) -> Self {
        let state = metrics.gauge::<Edge>("circuit_breaker_state", "0 closed, 1 half open, 2 open");
        Self {
            edge,
            state: state.get_or_create_owned(&edge),
            family: metrics.counter("circuit_breaker_transitions_total", "State changes, by the state entered"),
        }
    }

    pub(super) fn count(&self, from: BreakerState, to: BreakerState) {
        let level = match to {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.state.set(level);
        let reason = to.as_str();
        self.family.get_or_create(&ReasonLabels { edge: self.edge, reason }).inc();
        // In the context of the call that it happened in, whose ids it has.
        tracing::warn!(
            peer.service = self.edge.callee(),
            service.peer.name = self.edge.callee(),
            circuit_breaker.state = reason,
            circuit_breaker.before = from.as_str(),
            "circuit breaker"
        );
    }
}
