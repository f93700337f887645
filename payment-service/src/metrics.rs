//! What is counted beside the RED metrics of every RPC.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use service_base::metrics::Metrics;

use crate::processor::{AuthorizeOutcome, CaptureOutcome, ChargeOutcome, RefundOutcome, VoidOutcome};

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counts questions to the processor. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Attempts {
    charges: Family<ResultLabel, Counter>,
    authorizations: Family<ResultLabel, Counter>,
    captures: Family<ResultLabel, Counter>,
    voids: Family<ResultLabel, Counter>,
    refunds: Family<ResultLabel, Counter>,
}

impl Attempts {
    /// Registers the counters.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            charges: metrics
                .counter("payment_attempts_total", "Charges asked of the payment processor, by how it answered"),
            authorizations: metrics.counter(
                "payment_authorizations_total",
                "Authorizations asked of the payment processor, by how it answered",
            ),
            captures: metrics
                .counter("payment_captures_total", "Captures asked of the payment processor, by how it answered"),
            voids: metrics.counter("payment_voids_total", "Voids asked of the payment processor, by how it answered"),
            refunds: metrics
                .counter("payment_refunds_total", "Refunds asked of the payment processor, by how it answered"),
        }
    }

    pub(crate) fn charge(&self, outcome: &ChargeOutcome) {
        count(&self.charges, outcome.name());
    }

    pub(crate) fn authorization(&self, outcome: &AuthorizeOutcome) {
        count(&self.authorizations, outcome.name());
    }

    pub(crate) fn capture(&self, outcome: &CaptureOutcome) {
        count(&self.captures, outcome.name());
    }

    pub(crate) fn void(&self, outcome: &VoidOutcome) {
        count(&self.voids, outcome.name());
    }

    pub(crate) fn refund(&self, outcome: &RefundOutcome) {
        count(&self.refunds, outcome.name());
    }
}

fn count(family: &Family<ResultLabel, Counter>, result: &'static str) {
    family.get_or_create(&ResultLabel { result }).inc();
}
