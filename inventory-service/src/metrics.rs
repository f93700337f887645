//! What is counted beside the RED metrics of every RPC.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use service_base::metrics::Metrics;

use crate::{
    domain::{Rejection, Reservation},
    ports::{Answer, Refusal, Released},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    step: &'static str,
    result: &'static str,
}

/// Counts what steps led to. Clones share the counters.
#[derive(Clone, Debug)]
pub struct StepMetrics {
    steps: Family<Labels, Counter>,
    expired: Counter,
}

impl StepMetrics {
    /// Registers the counters.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            steps: metrics.counter("inventory_steps_total", "Steps answered, repeats included, by result"),
            expired: metrics.get_or_register(
                "inventory_reservations_expired_total",
                "Reservations let go because their time had passed",
                Counter::default,
            ),
        }
    }

    pub(crate) fn step(&self, step: &'static str, answer: &Answer<Reservation>) {
        self.count(step, answer.as_ref().map_or_else(refusal, |_| "done"));
    }

    pub(crate) fn released(&self, released: &Result<Released, Rejection>) {
        let result = match released {
            Ok(Released::Undone) => "undone",
            Ok(Released::AlreadyUndone) => "already_undone",
            Ok(Released::NothingToUndo) => "nothing_to_undo",
            Err(why) => rejection(why),
        };
        self.count("release_stock", result);
    }

    pub(crate) fn closed(&self, was_committed: bool) {
        self.count("close_commit", if was_committed { "was_committed" } else { "closed" });
    }

    pub(crate) fn expired(&self, count: usize) {
        self.expired.inc_by(count as u64);
    }

    fn count(&self, step: &'static str, result: &'static str) {
        self.steps.get_or_create(&Labels { step, result }).inc();
    }
}

fn refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Rejected(why) => rejection(why),
        Refusal::StepKeyReused => "step_key_reused",
        Refusal::StepCompensated => "step_compensated",
        Refusal::CommitClosed => "commit_closed",
    }
}

fn rejection(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::UnknownSku { .. } => "unknown_sku",
        Rejection::PriceMismatch { .. } => "price_mismatch",
        Rejection::InsufficientStock { .. } => "insufficient_stock",
        Rejection::ReservationNotFound { .. } => "reservation_not_found",
        Rejection::ReservationExpired { .. } => "reservation_expired",
        Rejection::ReservationReleased { .. } => "reservation_released",
        Rejection::NotAllowed { .. } => "not_allowed",
    }
}
