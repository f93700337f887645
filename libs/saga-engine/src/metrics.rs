//! What the engine counts. Labels are definitions, steps and outcomes only: never ids.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// A kind of saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SagaLabels {
    /// The definition's name.
    pub saga: &'static str,
}

/// Sagas of a kind in one status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SettledLabels {
    /// The definition's name.
    pub saga: &'static str,
    /// `completed`, `unwound` or `parked` of what settled, `running` or `unwinding` of what is under way.
    pub status: &'static str,
}

/// How attempts of a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AttemptLabels {
    /// The definition's name.
    pub saga: &'static str,
    /// The step.
    pub step: &'static str,
    /// `action`, `compensation` or `close`.
    pub phase: &'static str,
    /// As in the timeline: `done`, `refused`, `unknown`, `undone`, `closed`, `not_yet`.
    pub outcome: &'static str,
}

/// A step in one phase.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabels {
    /// The definition's name.
    pub saga: &'static str,
    /// The step.
    pub step: &'static str,
    /// `action`, `compensation` or `close`.
    pub phase: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The engine's counters. Cheap to clone; register it with the process's registry.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    /// Sagas stored to be run.
    pub started: Family<SagaLabels, Counter>,
    /// Sagas that settled here.
    pub settled: Family<SettledLabels, Counter>,
    /// From a saga's start to its settling.
    pub duration_seconds: Histograms<SettledLabels>,
    /// Sagas in memory.
    pub active: Gauge,
    /// Parked sagas in the store, as of the last sweep. Every replica says the same: take the maximum.
    pub parked: Family<SagaLabels, Gauge>,
    /// How long ago the oldest saga in the store that is under way was started, by status, as of the last sweep. Every replica says the
    /// same: take the maximum. What the environment holds up is not parked, so this is where it shows.
    pub oldest_seconds: Family<SettledLabels, Gauge>,
    /// Attempts of steps.
    pub attempts: Family<AttemptLabels, Counter>,
    /// How long an attempt took.
    pub attempt_seconds: Histograms<StepLabels>,
    /// Sagas taken over from other replicas, or from this one's previous life.
    pub claimed: Counter,
    /// Appends refused because the saga was taken over or moved meanwhile.
    pub fenced: Counter,
    /// Times this replica's lease had run out when it came back.
    pub leases_lost: Counter,
    /// Sagas left alone because their definition's name and version are not known here.
    pub unknown_definitions: Gauge,
    /// From an entry's submission to its commit.
    pub append_seconds: Histogram,
    /// Journal calls that failed and are tried again.
    pub journal_errors: Counter,
    /// Sagas that cannot be run because their journal cannot be read.
    pub unreadable: Counter,
    /// Finished sagas deleted by age.
    pub purged: Counter,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        // 1 ms to 65 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        Self {
            started: Family::default(),
            settled: Family::default(),
            duration_seconds: Family::new_with_constructor(seconds),
            active: Gauge::default(),
            parked: Family::default(),
            oldest_seconds: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(seconds),
            claimed: Counter::default(),
            fenced: Counter::default(),
            leases_lost: Counter::default(),
            unknown_definitions: Gauge::default(),
            append_seconds: seconds(),
            journal_errors: Counter::default(),
            unreadable: Counter::default(),
            purged: Counter::default(),
        }
    }
}

impl EngineMetrics {
    /// Registers all of them, as `saga_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("saga");
        registry.register("started", "Sagas stored to be run", self.started.clone());
        registry.register("settled", "Sagas that settled here", self.settled.clone());
        registry.register("duration_seconds", "From a saga's start to its settling", self.duration_seconds.clone());
        registry.register("active", "Sagas in memory", self.active.clone());
        registry.register("parked", "Parked sagas in the store", self.parked.clone());
        registry.register(
            "oldest_seconds",
            "How long ago the oldest saga that is under way was started",
            self.oldest_seconds.clone(),
        );
        registry.register("step_attempts", "Attempts of steps", self.attempts.clone());
        registry.register("step_attempt_seconds", "How long an attempt took", self.attempt_seconds.clone());
        registry.register("claimed", "Sagas taken over", self.claimed.clone());
        registry.register("fenced", "Appends refused because the saga was taken over", self.fenced.clone());
        registry.register("leases_lost", "Times this replica's lease had run out", self.leases_lost.clone());
        registry.register(
            "unknown_definitions",
            "Sagas left alone because their definition is not known here",
            self.unknown_definitions.clone(),
        );
        registry.register(
            "journal_append_seconds",
            "From an entry's submission to its commit",
            self.append_seconds.clone(),
        );
        registry.register(
            "journal_errors",
            "Journal calls that failed and are tried again",
            self.journal_errors.clone(),
        );
        registry.register("unreadable", "Sagas whose journal cannot be read", self.unreadable.clone());
        registry.register("purged", "Finished sagas deleted by age", self.purged.clone());
    }

    pub(crate) fn settled(&self, saga: &'static str, status: &'static str, took: Duration) {
        let labels = SettledLabels { saga, status };
        self.settled.get_or_create(&labels).inc();
        self.duration_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
