//! How a dependency is called: every number, its default, and what may not be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use service_base::config::{ConfigError, Section};

/// How one dependency is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resilience {
    /// Milliseconds one call may take with all its attempts, queueing and pauses, whatever its caller allows.
    pub deadline_ms_max: u64,
    /// Whether the dependency runs in this process, and so on the same processor and disk as its callers. Then an attempt may take all
    /// that is left of its caller's deadline, whatever `timeout_ms` says, and that it took too long does not count against the
    /// dependency: it is as slow as we are.
    pub in_process: bool,
    /// Milliseconds one attempt may take, within what is left of the caller's deadline.
    pub timeout_ms: u64,
    /// Attempts of one call, the first included. 1 retries nothing.
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubled for each later one.
    pub backoff_ms: u64,
    /// Milliseconds that a pause grows to at most.
    pub backoff_ms_max: u64,
    /// Per cent by which a pause is made longer or shorter, at random, so that callers do not come back in step.
    pub jitter_percent: u8,
    /// Retries allowed per hundred calls, beyond `retry_burst`.
    pub retry_percent: u8,
    /// Retries allowed before `retry_percent` counts.
    pub retry_burst: u32,
    /// When to stop calling.
    pub breaker: BreakerConfig,
    /// How many calls at once.
    pub bulkhead: BulkheadConfig,
}

/// When to stop calling a dependency that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row that open the breaker.
    pub failures_in_a_row: u32,
    /// Per cent of failed calls within the window that open it, of at least `calls_min`.
    pub failure_percent: u8,
    /// Calls within the window below which the percentage says nothing.
    pub calls_min: u32,
    /// Milliseconds looked back.
    pub window_ms: u64,
    /// Milliseconds before probes are let through.
    pub open_ms: u64,
    /// Probes at once, and good probes that close it.
    pub probes: u32,
}

/// How many calls a dependency gets at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadConfig {
    /// Calls in flight.
    pub concurrent_max: u32,
    /// Calls that wait for one of those to end; the next is refused at once.
    pub queued_max: u32,
}

/// When new work is refused because it could not be finished in reasonable time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Pieces of work that may be under way whatever they take.
    pub working_min: usize,
    /// Pieces of work that may be under way before it is known what they take.
    pub working_first: usize,
    /// Milliseconds that work may take before less of it is done at once; or twice what it takes when little is under way, if that is more.
    pub work_ms: u64,
    /// Milliseconds for which more may arrive than is done: all of a burst that is over by then waits for its turn.
    pub burst_ms: u64,
    /// Milliseconds that the first in the queue may have waited, after that, for another to be let into it.
    pub queue_ms: u64,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { working_min: 16, working_first: 32, work_ms: 100, burst_ms: 1_000, queue_ms: 500 }
    }
}

impl Section for AdmissionConfig {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check(self.working_min > 0, "working_min", "must be at least 1");
        check(self.working_first >= self.working_min, "working_first", "must not be below working_min");
        check(self.work_ms > 0, "work_ms", "must be at least 1");
        check(self.queue_ms > 0, "queue_ms", "must be at least 1");
        check(self.burst_ms >= self.queue_ms, "burst_ms", "must not be below queue_ms");
    }
}

impl Default for Resilience {
    fn default() -> Self {
        Self {
            deadline_ms_max: 30_000,
            in_process: false,
            timeout_ms: 500,
            attempts: 3,
            backoff_ms: 50,
            backoff_ms_max: 200,
            jitter_percent: 30,
            retry_percent: 20,
            retry_burst: 20,
            breaker: BreakerConfig::default(),
            bulkhead: BulkheadConfig::default(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures_in_a_row: 5, failure_percent: 60, calls_min: 10, window_ms: 10_000, open_ms: 30_000, probes: 3 }
    }
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self { concurrent_max: 256, queued_max: 1024 }
    }
}

impl Resilience {
    /// What one attempt may take at the most, within what is left of its caller's deadline.
    pub const fn attempt_max(&self) -> Duration {
        Duration::from_millis(if self.in_process { self.deadline_ms_max } else { self.timeout_ms })
    }
}

impl Section for Resilience {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check(self.timeout_ms > 0, "timeout_ms", "must be at least 1");
        check(self.deadline_ms_max >= self.timeout_ms, "deadline_ms_max", "must not be below timeout_ms");
        check((1..=10).contains(&self.attempts), "attempts", "must be from 1 to 10");
        check(self.backoff_ms_max >= self.backoff_ms, "backoff_ms_max", "must not be below backoff_ms");
        check(self.jitter_percent <= 100, "jitter_percent", "must be at most 100");
        check(self.retry_percent <= 100, "retry_percent", "must be at most 100");
        let breaker = &self.breaker;
        check(breaker.failures_in_a_row > 0, "breaker.failures_in_a_row", "must be at least 1");
        check((1..=100).contains(&breaker.failure_percent), "breaker.failure_percent", "must be from 1 to 100");
        check(breaker.calls_min > 0, "breaker.calls_min", "must be at least 1");
        check(breaker.window_ms >= 10, "breaker.window_ms", "must be at least 10");
        check(breaker.open_ms > 0, "breaker.open_ms", "must be at least 1");
        check(breaker.probes > 0, "breaker.probes", "must be at least 1");
        check(self.bulkhead.concurrent_max > 0, "bulkhead.concurrent_max", "must be at least 1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let mut errors = Vec::new();
        Resilience::default().validate(&mut errors);
        assert_eq!(errors, []);
    }

    #[test]
    fn admission_without_room_or_time_is_refused_by_key() {
        let keys = |config: &AdmissionConfig| {
            let mut errors = Vec::new();
            config.validate(&mut errors);
            errors.into_iter().map(|error| error.key).collect::<Vec<_>>()
        };
        assert!(keys(&AdmissionConfig::default()).is_empty());
        let nothing = AdmissionConfig { working_min: 0, working_first: 0, work_ms: 0, burst_ms: 0, queue_ms: 1 };
        let few_at_first = AdmissionConfig { working_first: 15, ..AdmissionConfig::default() };
        assert_eq!(keys(&few_at_first), ["working_first"]);
        assert_eq!(keys(&nothing), ["working_min", "work_ms", "burst_ms"]);
    }

    #[test]
    fn an_attempt_may_not_be_allowed_longer_than_the_call() {
        let mut errors = Vec::new();
        Resilience { timeout_ms: 31_000, ..Resilience::default() }.validate(&mut errors);
        assert_eq!(errors.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), ["deadline_ms_max"]);
    }
}
