//! The engine's limits.

use std::time::Duration;

/// The limits of one engine. Each has a default that suits a service in production.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Sagas in memory at the same time; more are refused at their start. Default 4096: each takes a few kilobytes, and a
    /// customer waits for most of them.
    pub sagas_max: usize,
    /// How often a replica says that it is alive. Default 1.2 s: an idle replica costs the database less than one query a second.
    pub heartbeat: Duration,
    /// For how long that holds; then others take its sagas over. Default 2.7 s, more than two heartbeats.
    pub lease: Duration,
    /// Sagas taken over by one claim. Default 100, so that one replica does not take all of a dead one's.
    pub claim_max: u32,
    /// Waits between attempts to write to a journal that fails: the first. Default 50 ms.
    pub journal_retry_first: Duration,
    /// The longest of these waits. Default 400 ms: well within a second after the database is back, sagas go on.
    pub journal_retry_cap: Duration,
    /// A saga that waits longer than this writes down where it is first, so that operators see it. Default 1 s.
    pub quiet_wait_max: Duration,
    /// How often a replica looks whether all sagas it owns are in its memory. Default 30 s.
    pub sweep: Duration,
    /// How often it looks at other replicas' sagas that callers wait for here. Default 100 ms; without such callers there is no query.
    pub watch: Duration,
    /// Finished sagas are deleted this long after, in small batches; never when absent, the default. What is running, unwinding or
    /// parked is never deleted, however old.
    pub retention: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sagas_max: 4096,
            heartbeat: Duration::from_millis(1200),
            lease: Duration::from_millis(2700),
            claim_max: 100,
            journal_retry_first: Duration::from_millis(50),
            journal_retry_cap: Duration::from_millis(400),
            quiet_wait_max: Duration::from_secs(1),
            sweep: Duration::from_secs(30),
            watch: Duration::from_millis(100),
            retention: None,
        }
    }
}
