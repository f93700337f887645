//! What the layers count, by dependency. Names and labels are what dashboards, alerts and runbooks ask for.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tracing::Span;

use super::BreakerState;
use service_base::{
    context,
    metrics::{DurationFamily, Metrics, TraceLabel},
};

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

/// How long attempts took.
pub(super) struct Calls {
    peer_service: &'static str,
    family: DurationFamily<CallLabels>,
}

impl Calls {
    pub(super) fn new(peer_service: &'static str, metrics: &Metrics) -> Self {
        let help = "How long calls to other services took, each attempt";
        Self { peer_service, family: metrics.durations("rpc_client_call_duration_seconds", help) }
    }

    pub(super) fn observe(
        &self,
        span: &Span,
        rpc_method: &'static str,
        rpc_response_status_code: &'static str,
        error_type: &'static str,
        took: Duration,
    ) {
        let labels = CallLabels { peer_service: self.peer_service, rpc_method, rpc_response_status_code, error_type };
        let exemplar = span.in_scope(context::current_trace_id).map(|trace_id| TraceLabel { trace_id });
        self.family.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }
}

/// Calls and retries that were not made.
#[derive(Clone)]
pub(super) struct Refused {
    peer_service: &'static str,
    family: Family<ReasonLabels, Counter>,
}

impl Refused {
    pub(super) fn new(peer_service: &'static str, metrics: &Metrics) -> Self {
        Self { peer_service, family: metrics.counter("calls_refused_total", "Calls that were not made, by reason") }
    }

    pub(super) fn count(&self, reason: &'static str) {
        self.family.get_or_create(&ReasonLabels { peer_service: self.peer_service, reason }).inc();
    }
}

pub(super) fn retries(peer_service: &'static str, metrics: &Metrics) -> Counter {
    metrics
        .counter::<PeerLabels>("retries_total", "Attempts after the first")
        .get_or_create_owned(&PeerLabels { peer_service })
}

pub(super) fn in_flight(peer_service: &'static str, metrics: &Metrics) -> Gauge {
    metrics
        .gauge::<PeerLabels>("bulkhead_in_flight", "Calls in flight")
        .get_or_create_owned(&PeerLabels { peer_service })
}

/// Where the breaker stands, and how it got there.
pub(super) struct Transitions {
    peer_service: &'static str,
    state: Gauge,
    family: Family<ReasonLabels, Counter>,
}

impl Transitions {
    pub(super) fn new(peer_service: &'static str, metrics: &Metrics) -> Self {
        let state = metrics.gauge::<PeerLabels>("circuit_breaker_state", "0 closed, 1 half open, 2 open");
        Self {
            peer_service,
            state: state.get_or_create_owned(&PeerLabels { peer_service }),
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
        self.family.get_or_create(&ReasonLabels { peer_service: self.peer_service, reason }).inc();
        // In the context of the call that it happened in, whose ids it has.
        tracing::warn!(
            peer.service = self.peer_service,
            service.peer.name = self.peer_service,
            circuit_breaker.state = reason,
            circuit_breaker.before = from.as_str(),
            "circuit breaker"
        );
    }
}
