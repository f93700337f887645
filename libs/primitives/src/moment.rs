//! Points on the monotonic clock. What is measured on it (a wait, a lease, an age, a rate) is right whatever becomes of the wall clock.
//!
//! Must not know: calendars, stores. A moment means nothing outside its process, so it can be neither printed as a time nor stored.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point on this process's monotonic clock: time since a fixed beginning, which cannot be set. Not comparable with a
/// [`Timestamp`](crate::Timestamp), on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Moment(Duration);

impl Moment {
    /// So long after the clock's beginning.
    pub const fn from_beginning(passed: Duration) -> Self {
        Self(passed)
    }

    /// Microseconds since the clock's beginning, for arithmetic on whole numbers.
    pub fn as_micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_moment_has_seen_no_time_pass() {
        let (early, late) =
            (Moment::from_beginning(Duration::from_secs(1)), Moment::from_beginning(Duration::from_secs(3)));
        assert_eq!((late.since(early), early.since(late)), (Duration::from_secs(2), Duration::ZERO));
        assert_eq!((early + Duration::from_secs(2), early - Duration::from_secs(5)), (late, Moment::default()));
        assert_eq!(late - Duration::from_secs(2), early);
    }
}
