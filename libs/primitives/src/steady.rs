//! The wall clock for what must not be hurried: a step forward is believed late, one back at once.
//!
//! Must not know: what is decided by it.

use std::{collections::VecDeque, time::Duration};

use crate::{Moment, Timestamp};

/// Less is not a step: clocks are adjusted by this much all the time, and two of them are never read at once.
const STEP_MIN_MICROS: u64 = 250_000;
/// Steps remembered. A clock that is set more often within one `patience` is taken for what it was first.
const STEPS_MAX: usize = 16;

/// Wall time as one process has seen it pass.
///
/// What was to happen at a time that was written down before the clock was set forward is not due because of that: until `patience` has
/// passed since the step (longer than anything that is waited for takes), time is what it was, and has gone on as the monotonic clock has.
/// A step of the clock while the process was down cannot be told from time that passed.
#[derive(Debug)]
pub struct SteadyTime {
    patience: Duration,
    /// Since when the wall clock has been so far ahead of the monotonic one, in microseconds; the oldest first.
    offsets: VecDeque<(Moment, i64)>,
}

impl SteadyTime {
    /// Believes a step forward after `patience`.
    pub const fn new(patience: Duration) -> Self {
        Self { patience, offsets: VecDeque::new() }
    }

    /// The time that it surely is, given what both clocks say. Never later than `wall`.
    pub fn now(&mut self, wall: Timestamp, moment: Moment) -> Timestamp {
        let offset = wall.as_micros().saturating_sub(moment.as_micros());
        let has_room = self.offsets.len() < STEPS_MAX;
        match self.offsets.back_mut() {
            Some((_, last)) if offset.abs_diff(*last) < STEP_MIN_MICROS => *last = offset,
            Some(last) if !has_room => *last = (moment, offset),
            _ => self.offsets.push_back((moment, offset)),
        }
        while self.offsets.get(1).is_some_and(|(since, _)| moment.since(*since) >= self.patience) {
            self.offsets.pop_front();
        }
        let believed = self.offsets.iter().map(|(_, offset)| *offset).min().unwrap_or(offset).min(offset);
        Timestamp::from_micros(moment.as_micros().saturating_add(believed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock as _, ManualClock};

    const HOUR: Duration = Duration::from_hours(1);
    const MINUTE: Duration = Duration::from_mins(1);

    fn read(time: &mut SteadyTime, clock: &ManualClock) -> Timestamp {
        time.now(clock.now(), clock.moment())
    }

    #[test]
    fn a_step_forward_is_believed_after_the_patience() {
        let (clock, mut time) = (ManualClock::default(), SteadyTime::new(HOUR));
        let begun = read(&mut time, &clock);
        assert_eq!(begun, clock.now());
        clock.step_forward(HOUR * 5);
        for minutes in 1..=60 {
            assert_eq!(read(&mut time, &clock), begun + MINUTE * (minutes - 1));
            clock.advance(MINUTE);
        }
        assert_eq!(read(&mut time, &clock), clock.now());
    }

    #[test]
    fn a_step_back_is_believed_at_once() {
        let (clock, mut time) = (ManualClock::default(), SteadyTime::new(HOUR));
        read(&mut time, &clock);
        clock.step_back(HOUR);
        assert_eq!(read(&mut time, &clock), clock.now());
        clock.step_forward(HOUR);
        clock.advance(MINUTE);
        assert_eq!(read(&mut time, &clock), clock.now() - HOUR, "and forward again is a step forward");
    }

    #[test]
    fn a_quarter_of_a_second_is_a_step_and_less_is_not() {
        for (micros, believed) in [(249_999, true), (250_000, false)] {
            let (clock, mut time) = (ManualClock::default(), SteadyTime::new(HOUR));
            read(&mut time, &clock);
            clock.step_forward(Duration::from_micros(micros));
            assert_eq!(read(&mut time, &clock) == clock.now(), believed, "{micros}");
        }
    }

    #[test]
    fn many_steps_take_no_more_memory_and_are_believed_late() {
        let (clock, mut time) = (ManualClock::default(), SteadyTime::new(HOUR));
        let begun = read(&mut time, &clock);
        for _ in 0..100 {
            clock.step_forward(HOUR);
            assert_eq!(read(&mut time, &clock), begun);
        }
        assert_eq!(time.offsets.len(), STEPS_MAX);
        clock.advance(HOUR);
        assert_eq!(read(&mut time, &clock), clock.now(), "all of them, an hour after the last");
    }

    #[test]
    fn slewing_is_followed() {
        let (clock, mut time) = (ManualClock::default(), SteadyTime::new(HOUR));
        for _ in 0..1000 {
            clock.advance(MINUTE);
            clock.step_forward(Duration::from_millis(30));
            assert_eq!(read(&mut time, &clock), clock.now());
        }
    }
}
