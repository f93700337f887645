//! What became of spans on their way to the collector, each counted once: sent, or lost and why.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

/// Why spans were lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SpanLossLabels {
    /// `queue_full`, `collector` or `end_of_process`.
    pub reason: &'static str,
}

/// What became of spans that were to be sent.
#[derive(Debug, Clone, Default)]
pub struct SpanMeters {
    /// Taken by the collector.
    pub exported: Counter,
    /// Lost, by reason.
    pub dropped: Family<SpanLossLabels, Counter>,
}

/// All reasons there are.
const REASONS: [&str; 3] = [QUEUE_FULL, COLLECTOR, END_OF_PROCESS];
const QUEUE_FULL: &str = "queue_full";
const COLLECTOR: &str = "collector";
const END_OF_PROCESS: &str = "end_of_process";

impl SpanMeters {
    /// All reasons, at 0: a rate needs a value from before the first loss.
    pub(crate) fn begin(&self) {
        for reason in REASONS {
            self.lost(reason, 0);
        }
    }

    fn lost(&self, reason: &'static str, count: usize) {
        self.dropped.get_or_create(&SpanLossLabels { reason }).inc_by(count as u64);
    }
}

/// Meters, and how many spans wait.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    meters: SpanMeters,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

impl Counted {
    pub(super) fn new(meters: SpanMeters, max: usize) -> Self {
        Self { meters, waiting: Arc::default(), max }
    }

    /// Whether one more may wait; one that may not is lost.
    pub(super) fn may_wait(&self) -> bool {
        let took = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| (waiting < self.max).then_some(waiting + 1));
        if took.is_err() {
            self.meters.lost(QUEUE_FULL, 1);
        }
        took.is_ok()
    }

    /// So many wait no longer.
    pub(super) fn taken(&self, count: usize) {
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| Some(waiting.saturating_sub(count)));
    }

    pub(super) fn sent(&self, count: usize, is_taken: bool) {
        if is_taken {
            self.meters.exported.inc_by(count as u64);
        } else {
            self.meters.lost(COLLECTOR, count);
        }
    }

    /// What waits now is never sent.
    pub(super) fn given_up(&self) {
        let left = self.waiting.swap(0, Ordering::Relaxed);
        if left > 0 {
            self.meters.lost(END_OF_PROCESS, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_is_counted_once() {
        let meters = SpanMeters::default();
        let counted = Counted::new(meters.clone(), 3);
        let waiting = (0..5).filter(|_| counted.may_wait()).count();
        counted.taken(2);
        counted.sent(1, true);
        counted.sent(1, false);
        counted.given_up();
        counted.given_up();
        let lost = |reason| meters.dropped.get_or_create(&SpanLossLabels { reason }).get();
        assert_eq!((waiting, meters.exported.get()), (3, 1));
        assert_eq!((lost("queue_full"), lost("collector"), lost("end_of_process")), (2, 1, 1));
    }
}
