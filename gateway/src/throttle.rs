//! Refuses here what the service behind would refuse: while it says that it has too much to do, it is sent a little more than it takes.
//!
//! A refusal costs the service little, and the way to it and back costs more than the refusal. So where orders are refused for want of
//! room, most of those that would be are refused at the door ("client-side throttling" of Google's *Site Reliability Engineering*,
//! chapter 21): of what arrives, as large a part is let through as the service took in the last second, and a quarter more, which
//! finds out when there is room again. Repeats of what was let through are always let through: they are no new work.
//!
//! Pure but for a lock: the time is an argument. Must not know: HTTP, tokens, what is asked for.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use amends_primitives::Moment;
use parking_lot::Mutex;

/// The last second is looked at, in tenths.
const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 10;
/// What is let through of what was taken: a quarter more, so that more is found to be taken as soon as it is.
const MORE: f64 = 1.25;
/// And so many a second, where nothing was taken.
const PROBES: f64 = 10.0;
/// Repeats that are known: some minutes of what one service takes, in 16 bytes each.
const REMEMBERED_MAX: usize = 32_768;

/// A request that may be repeated: of whom, and under which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark(u64);

#[derive(Debug)]
pub(crate) struct Throttle {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slices: [Slice; SLICES],
    /// The slice of now, counted from the clock's beginning.
    number: i64,
    /// Parts of a request that may go through.
    credit: f64,
    passed: HashSet<Mark>,
    order: VecDeque<Mark>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    arrived: u32,
    taken: u32,
    refused: u32,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), state: Mutex::default() }
    }

    /// The mark of a request. Two that share one by chance only mean that one more is let through.
    pub(crate) fn mark(&self, subject: &str, key: &[u8]) -> Mark {
        Mark(self.hasher.hash_one((subject, key)))
    }

    /// Whether a request is let through.
    pub(crate) fn passes(&self, mark: Mark, now: Moment) -> bool {
        let mut state = self.state.lock();
        if state.passed.contains(&mark) {
            return true;
        }
        state.turn_to(now);
        let passes = state.passes();
        if passes {
            state.remember(mark);
        }
        passes
    }

    /// The service took what was let through, or refused it for want of room.
    pub(crate) fn answered(&self, mark: Mark, is_taken: bool, now: Moment) {
        let mut state = self.state.lock();
        state.turn_to(now);
        let slice = state.slice();
        if is_taken {
            slice.taken = slice.taken.saturating_add(1);
        } else {
            slice.refused = slice.refused.saturating_add(1);
            // Sent again it is new work still. Its place in the order is left to be passed over.
            state.passed.remove(&mark);
        }
    }
}

impl State {
    fn turn_to(&mut self, now: Moment) {
        let number = now.as_micros() / i64::try_from(SLICE.as_micros()).unwrap_or(i64::MAX);
        let passed = usize::try_from(number.saturating_sub(self.number)).unwrap_or(0).min(SLICES);
        for _ in 0..passed {
            self.slices.rotate_right(1);
            self.slices[0] = Slice::default();
        }
        self.number = self.number.max(number);
    }

    fn slice(&mut self) -> &mut Slice {
        &mut self.slices[0]
    }

    fn passes(&mut self) -> bool {
        let slice = self.slice();
        slice.arrived = slice.arrived.saturating_add(1);
        let sum = |count: fn(&Slice) -> u32| -> f64 { self.slices.iter().map(|slice| f64::from(count(slice))).sum() };
        let (arrived, taken, refused) = (sum(|one| one.arrived), sum(|one| one.taken), sum(|one| one.refused));
        let share = (taken * MORE).max(PROBES) / arrived;
        if refused == 0.0 || share >= 1.0 {
            return true;
        }
        // Evenly, instead of by chance.
        self.credit += share;
        let passes = self.credit >= 1.0;
        if passes {
            self.credit -= 1.0;
        }
        passes
    }

    fn remember(&mut self, mark: Mark) {
        if self.passed.insert(mark) {
            self.order.push_back(mark);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.passed.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_beginning(Duration::from_millis(ms))
    }

    /// A service that takes `taken` of every hundred milliseconds' requests, of which `arriving` come: how many it was sent.
    fn run(throttle: &Throttle, tenths: std::ops::Range<u64>, arriving: u64, taken: usize) -> usize {
        let mut all = 0;
        for tenth in tenths {
            let mut sent = 0;
            for number in 0..arriving {
                let now = at(tenth * 100 + number * 100 / arriving);
                let mark = throttle.mark("ann", format!("{tenth}-{number}").as_bytes());
                if throttle.passes(mark, now) {
                    throttle.answered(mark, sent < taken, now);
                    sent += 1;
                }
            }
            all += sent;
        }
        all
    }

    #[test]
    fn everything_passes_while_nothing_is_refused() {
        let throttle = Throttle::new();
        assert_eq!(run(&throttle, 0..20, 400, 400), 8_000);
    }

    #[test]
    fn overload_is_sent_a_quarter_more_than_is_taken() {
        let throttle = Throttle::new();
        run(&throttle, 0..20, 400, 100);
        let sent = run(&throttle, 20..40, 400, 100);
        assert!((2_200..=2_800).contains(&sent), "{sent}");
    }

    #[test]
    fn all_passes_again_soon_after_there_is_room() {
        let throttle = Throttle::new();
        run(&throttle, 0..20, 400, 100);
        run(&throttle, 20..35, 400, 400);
        assert_eq!(run(&throttle, 35..45, 400, 400), 4_000);
    }

    #[test]
    fn service_that_takes_nothing_is_asked_now_and_then() {
        let throttle = Throttle::new();
        run(&throttle, 0..20, 100, 0);
        let sent = run(&throttle, 20..40, 100, 0);
        assert!((15..=25).contains(&sent), "{sent}");
    }

    #[test]
    fn repeat_of_what_was_let_through_passes() {
        let throttle = Throttle::new();
        let (mine, refused) = (throttle.mark("ann", b"mine"), throttle.mark("ann", b"refused"));
        assert!(throttle.passes(mine, at(0)) && throttle.passes(refused, at(0)));
        throttle.answered(mine, true, at(0));
        throttle.answered(refused, false, at(0));
        run(&throttle, 0..20, 400, 1);
        assert!((0..50).all(|_| throttle.passes(mine, at(2_000))));
        let others = (0..50u8).filter(|key| throttle.passes(throttle.mark("bob", &[*key]), at(2_000))).count();
        assert!(others < 10, "{others}");
    }
}
