//! How long a user name has to wait at one address after wrong passwords.
//!
//! There is no account lock: with it any caller could lock any user out. Failures are counted for the pair of user name and network
//! address, so that guessing from one network slows down that network only, and the owner logs in from anywhere else. Guessing from
//! many addresses is bounded by the cost of Argon2id and by the gateway's limits.

use std::time::Duration;

use amends_primitives::Timestamp;

/// How much replicas' clocks may differ. A failure that seems further ahead was counted before the clock was set back, and how
/// long ago nothing tells: it makes none wait, for a wait until the clock comes by again could be any. It still counts: the next
/// failure's wait is the longer one.
const SKEW_MAX: Duration = Duration::from_secs(2);

/// How fast the wait grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Failures without a wait: people mistype.
    pub free_failures: u32,
    /// The first wait; each further failure doubles it.
    pub delay_first: Duration,
    /// It grows no longer than this.
    pub delay_max: Duration,
    /// Failures this old are forgotten.
    pub forget_after: Duration,
}

/// What is remembered about a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many since the last success.
    pub count: u32,
    /// When the last one was.
    pub last_at: Timestamp,
}

impl ThrottlePolicy {
    /// How much longer to wait; `None` when a password may be tried now.
    pub fn wait(&self, failures: Option<Failures>, now: Timestamp) -> Option<Duration> {
        let failures = failures?;
        let doublings = failures.count.checked_sub(self.free_failures)?.checked_sub(1)?;
        let delay =
            self.delay_first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.delay_max);
        if failures.last_at > now + SKEW_MAX {
            return None;
        }
        let passed = now.since(failures.last_at);
        if passed >= self.forget_after { None } else { delay.checked_sub(passed).filter(|left| !left.is_zero()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: ThrottlePolicy = ThrottlePolicy {
        free_failures: 3,
        delay_first: Duration::from_secs(1),
        delay_max: Duration::from_mins(1),
        forget_after: Duration::from_mins(15),
    };

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_is_forgotten() {
        let at = Timestamp::from_millis(1_000_000);
        let wait = |count| POLICY.wait(Some(Failures { count, last_at: at }), at).map(|wait| wait.as_secs());
        assert_eq!(
            [0, 3, 4, 5, 6, 9, 10, 11, 200].map(wait),
            [None, None, Some(1), Some(2), Some(4), Some(32), Some(60), Some(60), Some(60)]
        );
        let failures = Some(Failures { count: 5, last_at: at });
        assert_eq!(POLICY.wait(failures, at + Duration::from_millis(1500)), Some(Duration::from_millis(500)));
        assert_eq!(POLICY.wait(failures, at + Duration::from_secs(2)), None);
        assert_eq!(POLICY.wait(None, at), None);
    }

    #[test]
    fn forgotten_failures_end_a_wait_that_is_longer() {
        let policy = ThrottlePolicy { forget_after: Duration::from_secs(30), ..POLICY };
        let at = Timestamp::from_millis(1_000_000);
        let wait = |passed| policy.wait(Some(Failures { count: 200, last_at: at }), at + Duration::from_secs(passed));
        assert_eq!([wait(29), wait(30), wait(31)], [Some(Duration::from_secs(31)), None, None]);
    }

    #[test]
    fn a_clock_set_back_makes_no_wait_longer() {
        let at = Timestamp::from_millis(10_000_000);
        let failures = Some(Failures { count: 200, last_at: at });
        assert_eq!(POLICY.wait(failures, at - SKEW_MAX), Some(POLICY.delay_max), "another replica's clock");
        for back in [Duration::from_millis(2001), Duration::from_mins(1), Duration::from_hours(1)] {
            assert_eq!(POLICY.wait(failures, at - back), None, "{back:?}");
        }
    }
}
