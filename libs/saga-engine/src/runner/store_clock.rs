//! What the store's clock says, as far as this replica believes it. Leases are by the store's clock, one for all replicas; but that clock
//! can be set, too, and a replica whose lease seems to have ended only because the clock went forward is alive.

use std::{collections::VecDeque, time::Duration};

use amends_primitives::Timestamp;
use tokio::time::Instant;

/// Less cannot be told from an answer that was slow.
const SLACK: Duration = Duration::from_millis(250);

/// The store's clock, heard with each heartbeat.
///
/// A step back is believed at once. A step forward is believed only when it was first heard of a lease ago: by then every living replica
/// has renewed its lease by the clock as it is now. Until then the store's time is what it was, and has gone on as this process's
/// monotonic clock has, so that replicas that are gone are not waited for any longer.
#[derive(Debug, Default)]
pub(super) struct StoreClock {
    /// When it was heard and what was said, the oldest first. Few: what is older than a lease is forgotten.
    heard: VecDeque<(Instant, Timestamp)>,
}

impl StoreClock {
    /// The store said this no later than `at`.
    pub(super) fn observe(&mut self, at: Instant, said: Timestamp, lease: Duration) {
        self.heard.push_back((at, said));
        // One goes when what was said after it has been known for a lease.
        while self.heard.get(1).is_some_and(|(next, _)| *next + lease <= at) {
            self.heard.pop_front();
        }
    }

    /// The latest time by the store's clock that it may be; leases that end later have not ended.
    pub(super) fn believed(&self, at: Instant) -> Timestamp {
        let now = |(heard, said): &(Instant, Timestamp)| *said + at.saturating_duration_since(*heard) + SLACK;
        self.heard.iter().map(now).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_step_forward_is_believed_after_a_lease() {
        let (begun, store) = (Instant::now(), Timestamp::from_millis(1_700_000_000_000));
        let mut clock = StoreClock::default();
        clock.observe(begun, store, LEASE);
        assert_eq!(clock.believed(begun + SECOND), store + SECOND + SLACK);
        for second in 1..=3 {
            let at = begun + SECOND * second;
            clock.observe(at, store + HOUR + SECOND * second, LEASE);
            assert_eq!(clock.believed(at), store + SECOND * second + SLACK, "after {second} s");
        }
        let at = begun + SECOND * 4;
        clock.observe(at, store + HOUR + SECOND * 4, LEASE);
        assert_eq!(clock.believed(at), store + HOUR + SECOND * 4 + SLACK);
    }

    #[test]
    fn a_step_back_is_believed_at_once() {
        let (begun, store) = (Instant::now(), Timestamp::from_millis(1_700_000_000_000));
        let mut clock = StoreClock::default();
        clock.observe(begun, store, LEASE);
        clock.observe(begun + SECOND, store - HOUR, LEASE);
        assert_eq!(clock.believed(begun + SECOND * 2), store - HOUR + SECOND + SLACK);
    }

    #[test]
    fn what_was_heard_before_an_outage_still_tells_the_time() {
        let (begun, store) = (Instant::now(), Timestamp::from_millis(1_700_000_000_000));
        let mut clock = StoreClock::default();
        clock.observe(begun, store, LEASE);
        clock.observe(begun + HOUR, store + HOUR + HOUR, LEASE);
        assert_eq!(clock.believed(begun + HOUR), store + HOUR + SLACK, "it was set forward meanwhile");
    }
}
