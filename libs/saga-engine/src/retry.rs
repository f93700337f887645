//! Delay arithmetic. Jitter is passed in, so that a run can be replayed.
//!
//! Must not know: randomness, clocks, what is being tried.

use std::time::Duration;

use crate::{Backoff, Persistence};

/// A participant may ask for no longer pause than this; more would hide a saga rather than spare the participant.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// The wait after attempt number `attempt` (from 1) of what may give up: doubling, spread evenly by `spread` to both sides.
/// `jitter` is in `0.0..1.0`.
pub fn backoff(policy: &Backoff, attempt: u32, jitter: f64, retry_after: Option<Duration>) -> Duration {
    let spread = policy.spread.clamp(0.0, 1.0);
    let factor = 1.0 + spread * (2.0 * jitter.clamp(0.0, 1.0) - 1.0);
    doubled(policy.first, policy.cap, attempt).mul_f64(factor).max(bounded(retry_after))
}

/// The wait after attempt number `attempt` (from 1) of what may not give up: anything between zero and a doubling, capped bound. What
/// the participant asks for comes on top: it asked all callers at the same moment (an open breaker does), and all of them coming
/// back at the same moment would have it ask again.
pub fn persistence(policy: &Persistence, attempt: u32, jitter: f64, retry_after: Option<Duration>) -> Duration {
    bounded(retry_after) + doubled(policy.first, policy.cap, attempt).mul_f64(jitter.clamp(0.0, 1.0))
}

fn doubled(first: Duration, cap: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(cap)
}

fn bounded(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_before_the_pivot_double_with_30_percent_jitter() {
        let policy = Backoff::default();
        let wait = |attempt, jitter| backoff(&policy, attempt, jitter, None).as_micros();
        assert_eq!([wait(1, 0.5), wait(2, 0.5), wait(3, 0.5)], [50_000, 100_000, 200_000]);
        assert_eq!([wait(1, 0.0), wait(1, 1.0)], [35_000, 65_000]);
        assert_eq!(wait(99, 0.5), 2_000_000);
    }

    #[test]
    fn a_participant_that_asks_for_a_pause_gets_it_within_reason() {
        let asked = |seconds| backoff(&Backoff::default(), 1, 0.5, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(3), Duration::from_secs(3));
        assert_eq!(asked(1_000_000), RETRY_AFTER_MAX);
    }

    #[test]
    fn those_who_were_sent_away_together_do_not_come_back_together() {
        let asked = Some(Duration::from_secs(30));
        let waits: Vec<_> = [0.0, 0.3, 0.9].map(|jitter| persistence(&Persistence::default(), 6, jitter, asked)).into();
        assert_eq!(waits, [30_000, 30_960, 32_880].map(Duration::from_millis));
    }

    proptest! {
        #[test]
        fn waits_never_exceed_their_cap(attempt in 0_u32.., jitter in 0.0..1.0) {
            let policy = Persistence::default();
            prop_assert!(persistence(&policy, attempt, jitter, None) <= policy.cap);
            let policy = Backoff::default();
            prop_assert!(backoff(&policy, attempt, jitter, None) <= policy.cap.mul_f64(1.0 + policy.spread));
        }
    }
}
