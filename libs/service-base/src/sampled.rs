//! Lines that would come with every request that is refused: one a second for each reason, which says how many it stands for. While more
//! arrives than can be served, a line each would be more load, and tell nothing more.
//!
//! Must not know: what is refused.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// One line of each reason in so long.
const EVERY: Duration = Duration::from_secs(1);

/// Samples lines by their reasons, of which there are few.
#[derive(Debug, Default)]
pub struct Sampled(Mutex<Vec<Reason>>);

#[derive(Debug)]
struct Reason {
    name: &'static str,
    /// When it was logged last.
    logged: Instant,
    /// How often it came since.
    since: u64,
}

impl Sampled {
    /// Nothing was logged yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Counts one more. If a line is due: how many it stands for, this one and those since the line before it.
    pub fn count(&self, reason: &'static str) -> Option<u64> {
        self.count_at(reason, Instant::now())
    }

    fn count_at(&self, name: &'static str, now: Instant) -> Option<u64> {
        let mut reasons = self.0.lock();
        let Some(reason) = reasons.iter_mut().find(|reason| reason.name == name) else {
            reasons.push(Reason { name, logged: now, since: 0 });
            return Some(1);
        };
        reason.since += 1;
        let is_due = now.saturating_duration_since(reason.logged) >= EVERY;
        is_due.then(|| {
            reason.logged = now;
            std::mem::take(&mut reason.since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_line_a_second_with_its_count() {
        let (sampled, start) = (Sampled::new(), Instant::now());
        let count = |reason, millis| sampled.count_at(reason, start + Duration::from_millis(millis));
        assert_eq!(count("overloaded", 0), Some(1), "the first is told at once");
        assert_eq!((1..1_000).find_map(|millis| count("overloaded", millis)), None);
        assert_eq!(count("rate_limited", 500), Some(1), "another reason has a line of its own");
        assert_eq!(count("overloaded", 1_000), Some(1_000));
        assert_eq!(count("overloaded", 9_000), Some(1));
    }
}
