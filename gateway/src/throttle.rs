//! Refuses here what the service behind would refuse: while it says that it has too much to do, it is sent what it takes, and no more.
//!
//! A refusal costs the service little, and the way to it and back costs more than the refusal. So where orders are refused for want of
//! room, most of those that would be are refused at the door ("client-side throttling" of Google's *Site Reliability Engineering*,
//! chapter 21): of what arrives, as large a part is let through as the service took in the last second. Its own queue bridges what that
//! measure is late by. Only when it has refused nothing for a moment is it sent more than it took, and soon much more, to find out how much
//! room there is now: before its queue is empty, and not all at once, which would be the next overload. Repeats of what was let through are always let through: they are no new work.
//!
//! Pure but for a lock: the time is an argument. Must not know: HTTP, tokens, what is asked for.

use std::{hash::RandomState, time::Duration};

use amends_primitives::Moment;
use parking_lot::Mutex;
use service_base::latest::{Latest, Mark};

/// The last second is looked at, in tenths.
const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 10;
/// While so many slices have passed since the last refusal, no more is let through than was taken.
const HELD: u32 = 2;
/// After that so many times as much, with each slice.
const MORE: f64 = 1.25;
/// Slices without a refusal after which everything is let through: by then it would be a hundred times what is taken.
const CALM: u32 = 24;
/// And so many a second, where nothing was taken.
const PROBES: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Throttle {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slices: [Slice; SLICES],
    /// The slice of now, counted from the clock's beginning.
    number: i64,
    /// Slices since the last refusal, as far as they count.
    calm: u32,
    /// Parts of a request that may go through.
    credit: f64,
    /// Their repeats pass, too.
    passed: Latest,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    arrived: u32,
    taken: u32,
}

impl Throttle {
    /// Lets everything through until something is refused.
    pub(crate) fn new() -> Self {
        let passed = Latest::new(Latest::REQUESTS);
        let state = State { slices: <[Slice; SLICES]>::default(), number: 0, calm: CALM, credit: 0.0, passed };
        Self { hasher: RandomState::new(), state: Mutex::new(state) }
    }

    /// The mark of a request. Two that share one by chance only mean that one more is let through.
    pub(crate) fn mark(&self, subject: &str, key: &[u8]) -> Mark {
        Mark::of(&self.hasher, subject, key)
    }

    /// Whether some requests are refused at present.
    pub(crate) fn refuses_some(&self, now: Moment) -> bool {
        let mut state = self.state.lock();
        state.turn_to(now);
        state.calm < CALM
    }

    /// Whether a request is let through.
    pub(crate) fn passes(&self, mark: Mark, now: Moment) -> bool {
        let mut state = self.state.lock();
        if state.passed.has(mark) {
            return true;
        }
        state.turn_to(now);
        let passes = state.passes();
        if passes {
            state.passed.note(mark);
        }
        passes
    }

    /// The service took what was let through, or refused it for want of room.
    pub(crate) fn answered(&self, mark: Mark, is_taken: bool, now: Moment) {
        let mut state = self.state.lock();
        state.turn_to(now);
        if is_taken {
            let slice = state.slice();
            slice.taken = slice.taken.saturating_add(1);
        } else {
            state.calm = 0;
            // Sent again it is new work still.
            state.passed.forget(mark);
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
        self.calm = self.calm.saturating_add(u32::try_from(passed).unwrap_or(CALM)).min(CALM);
        self.number = self.number.max(number);
    }

    fn slice(&mut self) -> &mut Slice {
        &mut self.slices[0]
    }

    fn passes(&mut self) -> bool {
        let slice = self.slice();
        slice.arrived = slice.arrived.saturating_add(1);
        if self.calm >= CALM {
            return true;
        }
        let sum = |count: fn(&Slice) -> u32| -> f64 { self.slices.iter().map(|slice| f64::from(count(slice))).sum() };
        let (arrived, taken) = (sum(|one| one.arrived), sum(|one| one.taken));
        let more = MORE.powi(i32::try_from(self.calm.saturating_sub(HELD)).unwrap_or(i32::MAX));
        let share = (taken * more).max(PROBES) / arrived;
        if share >= 1.0 {
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
    fn overload_is_sent_little_more_than_is_taken() {
        let throttle = Throttle::new();
        run(&throttle, 0..20, 400, 100);
        let sent = run(&throttle, 20..60, 400, 100);
        assert!((4_000..=4_400).contains(&sent), "{sent}");
    }

    #[test]
    fn finding_out_how_much_room_there_is_does_not_flood() {
        let throttle = Throttle::new();
        run(&throttle, 0..1, 400, 100);
        // There is room for all that arrives. At first a quarter of it is let through, as much as was taken before.
        let before = run(&throttle, 1..3, 400, 400);
        let after = run(&throttle, 3..6, 400, 400);
        assert!((180..=220).contains(&before), "{before} of 800");
        assert!((350..=800).contains(&after), "{after} of 1,200");
    }

    #[test]
    fn all_passes_again_soon_after_there_is_room() {
        let throttle = Throttle::new();
        run(&throttle, 0..20, 400, 100);
        run(&throttle, 20..30, 400, 400);
        assert_eq!(run(&throttle, 30..40, 400, 400), 4_000);
        assert!(throttle.refuses_some(at(4_000)));
        assert!(!throttle.refuses_some(at(9_000)), "as before the first refusal");
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
