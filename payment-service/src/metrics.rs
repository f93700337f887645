//! What is counted beside the RED metrics of every RPC.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use service_kit::metrics::Metrics;

use crate::processor::{ChargeOutcome, RefundOutcome, Unknown};

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counts questions to the processor. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Attempts {
    charges: Family<ResultLabel, Counter>,
    refunds: Family<ResultLabel, Counter>,
}

impl Attempts {
    /// Registers the counters.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            charges: metrics
                .counter("payment_attempts_total", "Charges asked of the payment processor, by how it answered"),
            refunds: metrics
                .counter("payment_refunds_total", "Refunds asked of the payment processor, by how it answered"),
        }
    }

    pub(crate) fn charge(&self, outcome: &ChargeOutcome) {
        let result = match outcome {
            ChargeOutcome::Captured { .. } => "captured",
            ChargeOutcome::Declined(reason) => reason.name(),
            ChargeOutcome::KeyVoided => "voided",
            ChargeOutcome::Unknown(why) => unknown(*why),
        };
        self.charges.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn refund(&self, outcome: &RefundOutcome) {
        let result = match outcome {
            RefundOutcome::Refunded { .. } => "refunded",
            RefundOutcome::Refused => "refused",
            RefundOutcome::Unknown(why) => unknown(*why),
        };
        self.refunds.get_or_create(&ResultLabel { result }).inc();
    }
}

const fn unknown(why: Unknown) -> &'static str {
    match why {
        Unknown::TimedOut => "timed_out",
        Unknown::Failed => "failed",
    }
}
