//! How far the wall clock was set since it was last asked. A saga's stored times are the wall clock's; its waits are not.

use amends_primitives::Timestamp;
use tokio::time::Instant;

/// What the wall clock said, and when, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall {
    said: Timestamp,
    at: Instant,
}

impl Wall {
    pub(super) const fn new(said: Timestamp, at: Instant) -> Self {
        Self { said, at }
    }

    /// The wall clock says `now`. Returns what moves a time of before along with however far the clock was set meanwhile.
    pub(super) fn asked(&mut self, now: Timestamp, at: Instant) -> impl Fn(Timestamp) -> Timestamp + use<> {
        let expected = self.said + at.saturating_duration_since(self.at);
        let set_by = now.as_micros().saturating_sub(expected.as_micros());
        *self = Self { said: now, at };
        move |time| Timestamp::from_micros(time.as_micros().saturating_add(set_by))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_move_by_what_the_clock_was_set_and_no_more() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        let (said, at) = (Timestamp::from_millis(1_700_000_000_000), Instant::now());
        let mut wall = Wall::new(said, at);
        let due = said + second * 30;
        assert_eq!(wall.asked(said + second, at + second)(due), due, "a second passed");
        let due = wall.asked(said + second * 2 - hour, at + second * 2)(due);
        assert_eq!(due, said + second * 30 - hour, "set back");
        let due = wall.asked(said + second * 3, at + second * 3)(due);
        assert_eq!(due, said + second * 30, "and forward again");
    }
}
