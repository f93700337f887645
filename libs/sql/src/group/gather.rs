//! How long a writer that has a thread of its own waits for more before it begins a batch.
//!
//! Callers that were answered together come back together, but not at the same instant: a writer that takes the first of them at once
//! commits it alone, and lets all others wait for that. A short pause puts them into one commit. A writer whose last batch was one job
//! never pauses, so a lone caller never waits.

use std::time::Duration;

use super::Batch;

/// Of the time that the last batch took: a pause that gains nothing costs no more.
const SHARE: u32 = 4;
/// Longer than callers take to come back.
const PAUSE_MAX: Duration = Duration::from_micros(200);
/// A shorter one costs as much as it saves: the disk is faster than the pause.
const PAUSE_MIN: Duration = Duration::from_micros(30);

/// The pause before a batch that has so many jobs already, given the last one.
pub(super) fn pause(arrived: usize, last: &Batch) -> Option<Duration> {
    let few = arrived * 2 <= last.jobs;
    Some((last.took / SHARE).min(PAUSE_MAX)).filter(|pause| few && last.committed && *pause >= PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(jobs: usize, took_us: u64) -> Batch {
        Batch { jobs, committed: true, took: Duration::from_micros(took_us) }
    }

    #[test]
    fn a_lone_callers_writes_never_pause() {
        assert_eq!(pause(1, &last(1, 1_000)), None);
        assert_eq!(pause(1, &last(0, 0)), None);
    }

    #[test]
    fn a_small_batch_after_a_large_one_waits_for_more() {
        assert_eq!(pause(1, &last(2, 400)), Some(Duration::from_micros(100)));
        assert_eq!(pause(16, &last(32, 400)), Some(Duration::from_micros(100)));
        assert_eq!(pause(17, &last(32, 400)), None, "most are here");
    }

    #[test]
    fn a_pause_is_short_beside_a_commit() {
        assert_eq!(pause(1, &last(32, 1_000_000)), Some(PAUSE_MAX));
        assert_eq!(pause(1, &last(32, 100)), None, "the disk is faster");
    }

    #[test]
    fn after_a_failure_nothing_is_waited_for() {
        assert_eq!(pause(1, &Batch { committed: false, ..last(32, 400) }), None);
    }
}
