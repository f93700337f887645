//! How much work to do at once: as much as keeps the processor, the disk and the participants busy, and no more. Pure: the time is an
//! argument.
//!
//! The limit follows from two measurements, taken over windows: how long work took, by its median, and how much of it was done a second.
//! While work takes no longer than is allowed, a limit that was reached grows by an eighth a window. Once it takes longer, more at once
//! only queues somewhere behind, and Little's law says how much could have been under way in the time allowed: the best rate of the last
//! windows, times that time. Growing is slow and falling is at once.
//!
//! What is allowed is a fixed time, or twice what work takes when little of it is under way, whichever is longer: a participant that is
//! slow by nature is no reason to do less at once. That base is measured only with at most `working_min` under way, so it does not creep up
//! with a queue of our own making; and when the base itself rises, the limit falls to `working_min`, where the new base is measured.
//!
//! Twice the base may be more than a participant is waited for. Work that queues for so long before it is given up as if the participant
//! had failed, and is then done again; so no more than most of an attempt is allowed, however long work takes. For the same reason work
//! that came to nothing is counted if it took longer than is allowed: where every attempt is given up, nothing else would be.
//!
//! At the beginning, and after each such fall, nothing is known of what can be under way. The limit then doubles with each window, up to
//! `working_first` or until work takes too long, as a connection of TCP begins (RFC 5681, section 3.1).

use std::time::Duration;

use amends_primitives::Moment;

use crate::config::AdmissionConfig;

/// Long enough for some dozens of orders to end, short enough to notice an overload before its queue is long.
const WINDOW: Duration = Duration::from_millis(200);
/// Windows with fewer ends than this are prolonged: their median would be chance.
const SAMPLES_MIN: usize = 8;
/// What a window remembers of durations; the median of the first so many says enough.
const SAMPLES_MAX: usize = 512;
/// Windows among which the best rate is looked for: about two seconds.
const RATES: usize = 8;
/// How much of an attempt's time all the work may take, in percent: its calls vary, and the longest is the one that is given up.
const OF_ATTEMPT: u32 = 60;
/// How much longer than its base work may take at least, in percent of it.
const OVER_BASE: u32 = 125;
/// How long a base is believed without being measured again.
const BASE_PERIOD: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Limit {
    min: usize,
    first: usize,
    max: usize,
    allowed: Duration,
    allowed_max: Duration,
    current: usize,
    /// Below it the limit doubles: no more was ever too much, at what is allowed now.
    safe: usize,
    /// What was allowed when work last took too long.
    exceeded: Duration,
    working: usize,
    window: Window,
    rates: [f64; RATES],
    next_rate: usize,
    base: Base,
}

/// One piece of work under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    at: Moment,
    /// Whether little else was under way.
    is_alone: bool,
}

#[derive(Debug)]
struct Window {
    began: Moment,
    took: Vec<Duration>,
    ended: usize,
    /// Those of the ended that did not come to nothing.
    done: usize,
    is_felt: bool,
}

/// What work takes when nothing waits for anything: the least of this period and of the one before.
#[derive(Debug)]
struct Base {
    began: Moment,
    current: Option<Duration>,
    before: Option<Duration>,
}

impl Limit {
    pub(super) fn new(config: &AdmissionConfig, max: usize, attempt: Duration, now: Moment) -> Self {
        let max = max.max(1);
        let min = config.working_min.clamp(1, max);
        let first = config.working_first.clamp(min, max);
        Self {
            min,
            first,
            max,
            allowed: Duration::from_millis(config.work_ms),
            allowed_max: attempt.saturating_mul(OF_ATTEMPT) / 100,
            current: first,
            safe: first,
            exceeded: Duration::ZERO,
            working: 0,
            window: Window::new(now),
            rates: [0.0; RATES],
            next_rate: 0,
            base: Base { began: now, current: None, before: None },
        }
    }

    /// How much may be under way.
    pub(super) fn limit(&self) -> usize {
        self.current
    }

    /// Whether another piece of work may begin.
    pub(super) fn has_room(&self) -> bool {
        self.working < self.current
    }

    /// How much is under way.
    pub(super) fn working(&self) -> usize {
        self.working
    }

    /// Begins a piece of work, if there is room for it.
    pub(super) fn start(&mut self, now: Moment) -> Option<Started> {
        self.window.is_felt |= self.working + 1 >= self.current;
        if !self.has_room() {
            return None;
        }
        self.working += 1;
        Some(Started { at: now, is_alone: self.working <= self.min })
    }

    /// Ends a piece of work. One that came to nothing (`counts` is false) says nothing about how long work takes, unless it is that it
    /// takes longer than is allowed.
    pub(super) fn end(&mut self, started: Started, counts: bool, now: Moment) {
        let is_alone = started.is_alone && self.working <= self.min;
        self.working = self.working.saturating_sub(1);
        let took = now.since(started.at);
        if counts {
            self.window.done += 1;
            if is_alone {
                self.base.note(took, now);
            }
        }
        if counts || took > self.allowed() {
            self.window.ended += 1;
            if self.window.took.len() < SAMPLES_MAX {
                self.window.took.push(took);
            }
        }
        let passed = now.since(self.window.began);
        // A few long ones are waited for, but not for ever: where all work takes seconds, a window has few ends.
        if passed >= WINDOW && (self.window.ended >= SAMPLES_MIN || passed >= 5 * WINDOW) {
            self.close_window(passed, now);
        }
    }

    fn close_window(&mut self, passed: Duration, now: Moment) {
        let mut window = std::mem::replace(&mut self.window, Window::new(now));
        #[expect(clippy::cast_precision_loss, reason = "a rate of some thousands")]
        let rate = window.done as f64 / passed.as_secs_f64();
        self.rates[self.next_rate] = rate;
        self.next_rate = (self.next_rate + 1) % RATES;
        let Some(median) = median(&mut window.took) else { return };
        let allowed = self.allowed();
        if median <= allowed {
            if allowed > self.exceeded {
                self.safe = self.first;
            }
            if window.is_felt {
                let doubled = (2 * self.current).min(self.safe);
                self.current = (self.current + self.current.div_ceil(8)).max(doubled).min(self.max);
            }
            return;
        }
        let best = self.rates.iter().copied().fold(0.0, f64::max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped below")]
        let fits = (best * allowed.as_secs_f64()).round() as usize;
        // What takes too long with a limit is no reason for a higher one.
        self.current = fits.min(self.current).clamp(self.min, self.max);
        (self.safe, self.exceeded) = (self.current, allowed);
    }

    fn allowed(&self) -> Duration {
        let Some(base) = self.base.least() else { return self.allowed };
        let bounded = (2 * base).min(self.allowed_max.max(base * OVER_BASE / 100));
        self.allowed.max(bounded)
    }
}

impl Window {
    fn new(began: Moment) -> Self {
        Self { began, took: Vec::new(), ended: 0, done: 0, is_felt: false }
    }
}

impl Base {
    fn note(&mut self, took: Duration, now: Moment) {
        if now.since(self.began) >= BASE_PERIOD {
            *self = Self { began: now, current: None, before: self.current.take() };
        }
        self.current = Some(self.current.map_or(took, |least| least.min(took)));
    }

    fn least(&self) -> Option<Duration> {
        match (self.current, self.before) {
            (Some(current), Some(before)) => Some(current.min(before)),
            (current, before) => current.or(before),
        }
    }
}

fn median(took: &mut [Duration]) -> Option<Duration> {
    let middle = took.len() / 2;
    (!took.is_empty()).then(|| *took.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_beginning(Duration::from_millis(ms))
    }

    const ATTEMPT: Duration = Duration::from_secs(30);

    fn limit(max: usize) -> Limit {
        let config = AdmissionConfig { working_min: 4, working_first: 32, work_ms: 100, ..AdmissionConfig::default() };
        Limit::new(&config, max, ATTEMPT, at(0))
    }

    /// Work that is served one after the other, `per_second` of it, and takes `slow` besides; as much arrives as is let in.
    struct World {
        limit: Limit,
        per_ms: f64,
        slow: u64,
        now: u64,
        served_until: f64,
        under_way: VecDeque<(u64, Started, bool)>,
        gives_up_after: Option<u64>,
    }

    impl World {
        fn new(per_second: f64, slow: u64) -> Self {
            let per_ms = per_second / 1000.0;
            let (limit, under_way) = (limit(1024), VecDeque::new());
            Self { limit, per_ms, slow, now: 0, served_until: 0.0, under_way, gives_up_after: None }
        }

        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        fn run(&mut self, ms: u64, arrivals_per_ms: usize) -> (usize, usize) {
            let (until, mut done, mut refused) = (self.now + ms, 0, 0);
            while self.now < until {
                self.now += 1;
                while self.under_way.front().is_some_and(|(end, ..)| *end <= self.now) {
                    let (_, started, is_done) = self.under_way.pop_front().unwrap();
                    self.limit.end(started, is_done, at(self.now));
                    done += usize::from(is_done);
                }
                for _ in 0..arrivals_per_ms {
                    let Some(started) = self.limit.start(at(self.now)) else {
                        refused += 1;
                        continue;
                    };
                    self.served_until = self.served_until.max(self.now as f64) + 1.0 / self.per_ms;
                    let served = self.served_until as u64 + self.slow;
                    let given_up = self.gives_up_after.map_or(u64::MAX, |after| self.now + after);
                    self.under_way.push_back((served.min(given_up), started, served <= given_up));
                }
            }
            (done, refused)
        }
    }

    #[test]
    fn overload_leaves_as_much_as_is_done_in_the_time_allowed() {
        let mut world = World::new(1000.0, 5);
        world.run(3_000, 4);
        let (done, refused) = world.run(10_000, 4);
        assert!((9_800..=10_200).contains(&done), "{done}");
        assert!(refused > 25_000, "{refused}");
        let limit = world.limit.limit();
        assert!((80..=160).contains(&limit), "a thousand a second in 100 ms, and what growing adds: {limit}");
    }

    #[test]
    fn slow_participant_does_not_lower_the_limit() {
        let mut world = World::new(1000.0, 400);
        world.run(20_000, 1);
        let (done, _) = world.run(5_000, 1);
        assert!(done > 4_900, "400 of it wait for the participant at any time: {done}, {:?}", world.limit.limit());
    }

    #[test]
    fn participant_that_becomes_slow_is_found_out() {
        let mut world = World::new(1000.0, 5);
        world.run(5_000, 1);
        world.slow = 400;
        world.run(40_000, 1);
        let (done, _) = world.run(5_000, 1);
        assert!(done > 4_500, "{done}, {}", world.limit.limit());
    }

    #[test]
    fn little_is_under_way_where_little_can_be_done() {
        let mut world = World::new(120.0, 10);
        world.run(5_000, 1);
        let (done, _) = world.run(10_000, 1);
        assert!((1_150..=1_210).contains(&done), "all that can be: {done}");
        assert!((8..=24).contains(&world.limit.limit()), "what is done in 100 ms: {}", world.limit.limit());
    }

    #[test]
    fn slow_participant_costs_seconds_to_find_out() {
        let mut world = World::new(1000.0, 5);
        world.run(5_000, 1);
        world.slow = 300;
        world.run(8_000, 1);
        assert!(world.limit.limit() >= 32, "{}", world.limit.limit());
    }

    #[test]
    fn limit_recovers_after_a_stall() {
        let mut world = World::new(20.0, 5);
        world.run(20_000, 1);
        assert!((4..=12).contains(&world.limit.limit()), "twenty a second: {}", world.limit.limit());
        world.per_ms = 1.0;
        world.served_until = 0.0;
        world.run(5_000, 2);
        let (done, _) = world.run(2_000, 2);
        assert!(done > 1_900, "{done}, {}", world.limit.limit());
    }

    /// A participant that serves one after the other, and whose callers give up after half a second; what they gave up is still served.
    #[test]
    fn work_is_not_queued_for_longer_than_an_attempt() {
        let config = AdmissionConfig::default();
        let attempt = Duration::from_millis(500);
        let mut world = World::new(60.0, 10);
        world.limit = Limit::new(&config, 1024, attempt, at(0));
        world.gives_up_after = Some(500);
        world.run(10_000, 1);
        let (done, _) = world.run(10_000, 1);
        assert!((550..=610).contains(&done), "{done} of 600, {}", world.limit.limit());
        assert!(world.limit.limit() < 25, "{}", world.limit.limit());
    }

    #[test]
    fn limit_falls_where_every_attempt_is_given_up() {
        let mut world = World::new(1000.0, 5);
        world.run(5_000, 4);
        let before = world.limit.limit();
        world.per_ms = 0.1;
        world.gives_up_after = Some(500);
        world.run(5_000, 4);
        assert!(before > 80 && world.limit.limit() <= 25, "{before}, {}", world.limit.limit());
    }

    #[test]
    fn limit_stays_within_its_bounds() {
        let mut limit = limit(40);
        let mut now = 0;
        for _ in 0..200 {
            now += 300;
            let started: Vec<_> = std::iter::from_fn(|| limit.start(at(now))).collect();
            assert!((32..=40).contains(&started.len()), "{}", started.len());
            for one in started {
                limit.end(one, true, at(now + 1));
            }
        }
        assert_eq!(limit.limit(), 40);
        assert_eq!(Limit::new(&AdmissionConfig::default(), 1, ATTEMPT, at(0)).limit(), 1);
    }

    #[test]
    fn work_that_came_to_nothing_teaches_nothing() {
        let mut limit = limit(1024);
        for round in 0..100 {
            let now = at(round * 300);
            let started: Vec<_> = std::iter::from_fn(|| limit.start(now)).collect();
            for one in started {
                limit.end(one, false, now);
            }
        }
        assert_eq!((limit.limit(), limit.working()), (32, 0));
    }
}
