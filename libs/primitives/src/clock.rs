//! Where time and identity come from. Rules take them as arguments, so that a run can be replayed and tests never sleep.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use crate::{Moment, Timestamp};

/// Tells the time, in two ways. A machine's wall clock is set by people and by other machines, forwards and backwards; its monotonic
/// clock is not. So what only this process measures (a wait, an age, a rate) takes [`moment`](Self::moment), and only what other
/// machines or people see (a token's end, an order's date, a row that must survive a restart) takes [`now`](Self::now).
pub trait Clock: Send + Sync + 'static {
    /// Now, by the wall clock. The next answer may be earlier.
    fn now(&self) -> Timestamp;

    /// Now, by the monotonic clock. The next answer is never earlier.
    fn moment(&self) -> Moment;
}

/// Makes identifiers.
pub trait IdSource: Send + Sync + 'static {
    /// A UUID that was not given out before; version 7 where the source has a clock.
    fn next_id(&self) -> Uuid;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Where this process's moments begin: when the first one was asked for.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn moment(&self) -> Moment {
        Moment::from_beginning(BEGINNING.elapsed())
    }
}

/// Random version 7 UUIDs from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    fn next_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    /// Microseconds since the Unix epoch.
    wall: AtomicI64,
    /// Microseconds since the clock was made.
    passed: AtomicU64,
}

impl ManualClock {
    /// Starts at `at`.
    pub const fn new(at: Timestamp) -> Self {
        Self { wall: AtomicI64::new(at.as_micros()), passed: AtomicU64::new(0) }
    }

    /// Time passes: `duration` on both clocks.
    pub fn advance(&self, duration: Duration) {
        self.passed.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.step_forward(duration);
    }

    /// The wall clock is set forward by `step`, in no time.
    pub fn step_forward(&self, step: Duration) {
        self.wall.fetch_add(i64::try_from(step.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// The wall clock is set back by `step`, in no time.
    pub fn step_back(&self, step: Duration) {
        self.wall.fetch_sub(i64::try_from(step.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Starts in November 2023, so that times in tests look like times.
    fn default() -> Self {
        Self::new(Timestamp::from_millis(1_700_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall.load(Ordering::SeqCst))
    }

    fn moment(&self) -> Moment {
        Moment::from_beginning(Duration::from_micros(self.passed.load(Ordering::SeqCst)))
    }
}

/// Ids that count up from a seed: the same in every run.
#[derive(Debug)]
pub struct SeededIds {
    seed: u64,
    count: AtomicU64,
}

impl SeededIds {
    /// Ids of one seed never equal those of another.
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> Uuid {
        Uuid::from_u64_pair(self.seed, self.count.fetch_add(1, Ordering::SeqCst))
    }
}

impl<T: Clock + ?Sized> Clock for std::sync::Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn moment(&self) -> Moment {
        (**self).moment()
    }
}

impl<T: IdSource + ?Sized> IdSource for std::sync::Arc<T> {
    fn next_id(&self) -> Uuid {
        (**self).next_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_is_no_time_passed() {
        let (clock, hour) = (ManualClock::default(), Duration::from_hours(1));
        let (wall, moment) = (clock.now(), clock.moment());
        clock.step_back(hour);
        assert_eq!((clock.now(), clock.moment()), (wall - hour, moment));
        clock.step_forward(hour * 2);
        assert_eq!((clock.now(), clock.moment()), (wall + hour, moment));
        clock.advance(hour);
        assert_eq!((clock.now(), clock.moment().since(moment)), (wall + hour * 2, hour));
    }

    #[test]
    fn the_machine_tells_the_time_that_it_is() {
        let (before, after) = (SystemTime::now(), SystemClock.now());
        assert!(after >= before.into() && after.since(before.into()) < Duration::from_mins(1));
        let earlier = SystemClock.moment();
        std::thread::sleep(Duration::from_millis(1));
        assert!(SystemClock.moment() > earlier);
    }

    #[test]
    fn ids_of_a_seed_count_up_and_differ_from_other_seeds() {
        let (one, other) = (SeededIds::new(1), SeededIds::new(2));
        let ids = [one.next_id(), one.next_id(), other.next_id()];
        assert_eq!(ids.map(|id| id.as_u64_pair()), [(1, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn random_ids_are_version_7_and_new() {
        let ids = [RandomIds.next_id(), RandomIds.next_id()];
        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn a_shared_clock_and_source_are_the_ones_inside() {
        let clock = std::sync::Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(3));
        assert_eq!(Clock::now(&clock), ManualClock::now(&clock));
        assert_eq!(Clock::moment(&clock), Moment::from_beginning(Duration::from_secs(3)));
        let ids = std::sync::Arc::new(SeededIds::new(7));
        assert_eq!(IdSource::next_id(&ids).as_u64_pair(), (7, 0));
    }

    #[test]
    fn the_machines_moments_never_go_back() {
        let earlier = SystemClock.moment();
        assert!(SystemClock.moment() >= earlier);
    }
}
