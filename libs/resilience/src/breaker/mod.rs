//! The circuit breaker's rules. Pure: the time is an argument.

mod layer;

use std::time::Duration;

use amends_primitives::Moment;

use super::{BreakerConfig, BreakerState};

pub use layer::{BreakerFuture, BreakerLayer, BreakerService};

/// The window is kept in this many slices; a failure is forgotten within a tenth of the window's length.
const SLICES: usize = 10;
const SLICES_I64: i64 = 10;

/// What calls came to in a part of the window. `limited` are not among the `calls`.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    number: i64,
    calls: u32,
    failures: u32,
    limited: u32,
}

#[derive(Debug)]
enum State {
    Closed { slices: Box<[Slice; SLICES]>, in_a_row: u32 },
    Open { until: Moment },
    HalfOpen { probing: u32, good: u32, limited: u32 },
}

/// A permit for one call. Its outcome counts only for the state it was given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permit {
    epoch: u64,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Bad,
    /// Met with a limit: the dependency protects itself, and says when to come back.
    Limited,
    /// Given up by the caller: it says nothing about the dependency.
    Abandoned,
}

#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    epoch: u64,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: Self::closed(), epoch: 0 }
    }

    fn closed() -> State {
        State::Closed { slices: Box::new([Slice::default(); SLICES]), in_a_row: 0 }
    }

    fn become_state(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// A permit, or the time to wait before asking again.
    pub(super) fn ask(&mut self, now: Moment) -> Result<Permit, Duration> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(until.since(now));
            }
            self.become_state(State::HalfOpen { probing: 0, good: 0, limited: 0 });
        }
        if let State::HalfOpen { probing, good, .. } = &mut self.state {
            if *probing + *good >= self.config.probes {
                // Enough probes are on their way; what they find is known in a moment.
                return Err(Duration::from_secs(1));
            }
            *probing += 1;
        }
        Ok(Permit { epoch: self.epoch })
    }

    /// How long calls will still be refused; `None` when the next one would be let through. Changes nothing, takes up no probe.
    pub(super) fn refuses_for(&self, now: Moment) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until.since(now)),
            State::HalfOpen { probing, good, .. } if probing + good >= self.config.probes => {
                Some(Duration::from_secs(1))
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Takes note of what a call came to.
    pub(super) fn note(&mut self, permit: Permit, outcome: Outcome, now: Moment) {
        if permit.epoch != self.epoch {
            return;
        }
        let opens = match &mut self.state {
            State::Open { .. } => false,
            State::Closed { slices, in_a_row } => match outcome {
                Outcome::Abandoned => false,
                Outcome::Good => {
                    *in_a_row = 0;
                    count(slices, &self.config, now, outcome);
                    false
                }
                Outcome::Bad => {
                    *in_a_row += 1;
                    let sum = count(slices, &self.config, now, outcome);
                    // What met a limit speaks neither for nor against the dependency.
                    let many = sum.calls >= self.config.calls_min
                        && u64::from(sum.failures) * 100
                            >= u64::from(sum.calls) * u64::from(self.config.failure_percent);
                    many || *in_a_row >= self.config.failures_in_a_row
                }
                // It serves no caller: nothing is lost by cutting it off.
                Outcome::Limited => {
                    let sum = count(slices, &self.config, now, outcome);
                    sum.calls + sum.limited >= self.config.calls_min && sum.calls == sum.failures
                }
            },
            State::HalfOpen { probing, good, limited } => {
                *probing = probing.saturating_sub(1);
                match outcome {
                    Outcome::Abandoned => false,
                    Outcome::Bad => true,
                    // A place for another probe; until as many have come back with nothing but that.
                    Outcome::Limited => {
                        *limited += 1;
                        *good == 0 && *limited >= self.config.probes
                    }
                    Outcome::Good => {
                        *good += 1;
                        if *good >= self.config.probes {
                            self.become_state(Self::closed());
                        }
                        false
                    }
                }
            }
        };
        if opens {
            self.become_state(State::Open { until: now + Duration::from_millis(self.config.open_ms) });
        }
    }
}

/// Counts a call in its slice. The calls within the window, this one included.
fn count(slices: &mut [Slice; SLICES], config: &BreakerConfig, now: Moment, outcome: Outcome) -> Slice {
    let slice_micros = i64::try_from(config.window_ms.saturating_mul(1000)).unwrap_or(i64::MAX) / SLICES_I64;
    let number = now.as_micros().div_euclid(slice_micros.max(1));
    let slot = usize::try_from(number.rem_euclid(SLICES_I64)).unwrap_or(0);
    if let Some(slice) = slices.get_mut(slot) {
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        if outcome == Outcome::Limited {
            slice.limited = slice.limited.saturating_add(1);
        } else {
            slice.calls = slice.calls.saturating_add(1);
            slice.failures = slice.failures.saturating_add(u32::from(outcome == Outcome::Bad));
        }
    }
    let recent = slices.iter().filter(|slice| number - slice.number < SLICES_I64 && slice.number <= number);
    recent.fold(Slice { number, ..Slice::default() }, |sum, slice| Slice {
        number,
        calls: sum.calls.saturating_add(slice.calls),
        failures: sum.failures.saturating_add(slice.failures),
        limited: sum.limited.saturating_add(slice.limited),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script: `g`ood, `b`ad, `l`imited calls, `u`: abandoned ones, `+n` seconds pass, `?` asks without an outcome (a probe on its way).
    /// Returns the state after each step.
    fn check(script: &str) -> String {
        let mut breaker = Breaker::new(BreakerConfig::default());
        let mut now = Moment::default();
        let mut seen = Vec::new();
        for step in script.split(' ') {
            if let Some(secs) = step.strip_prefix('+') {
                now = now + Duration::from_secs(secs.parse().unwrap());
                continue;
            }
            let outcome = match step {
                "g" => Some(Outcome::Good),
                "b" => Some(Outcome::Bad),
                "l" => Some(Outcome::Limited),
                "u" => Some(Outcome::Abandoned),
                _ => None,
            };
            match breaker.ask(now) {
                Err(_) => seen.push("refused"),
                Ok(permit) => {
                    if let Some(outcome) = outcome {
                        breaker.note(permit, outcome, now);
                    }
                    seen.push(breaker.state().as_str());
                }
            }
        }
        seen.dedup();
        seen.join(" ")
    }

    #[test]
    fn opens_closes_and_probes_as_the_design_says() {
        // Five in a row, not four.
        assert_eq!(check("b b b b"), "closed");
        assert_eq!(check("b b b b b g"), "closed open refused");
        assert_eq!(check("b b b b g b b b b"), "closed");
        // 60 % of at least ten in ten seconds.
        assert_eq!(check("g b b g b b g b b"), "closed");
        assert_eq!(check("g b b g b b g b b b"), "closed open");
        assert_eq!(check("g b b g b b g b b g g"), "closed");
        // What is older than the window does not count.
        assert_eq!(check("g b b g b b g b b +11 b g b g"), "closed");
        // Given-up calls say nothing.
        assert_eq!(check("b b b b u u u u"), "closed");
        // Limits speak neither for nor against it, unless they are all that there is.
        assert_eq!(check("g l l l l l l l l l l l l l l l l l"), "closed");
        assert_eq!(check("b l b l b l b l b"), "closed open");
        assert_eq!(check("l l l l l l l l l"), "closed");
        assert_eq!(check("l l l l l l l l l l g"), "closed open refused");
        assert_eq!(check("b b l l l l l l l l"), "closed open");
        assert_eq!(check("g +11 l l l l l l l l l l"), "closed open");
        assert_eq!(check("b b b b b +30 l l g l l l g g"), "closed open half_open closed");
        assert_eq!(check("b b b b b +30 l l l"), "closed open half_open open");
        // Half open after thirty seconds, closed after three good probes.
        assert_eq!(check("b b b b b +29 g"), "closed open refused");
        assert_eq!(check("b b b b b +30 g g"), "closed open half_open");
        assert_eq!(check("b b b b b +30 g g g"), "closed open half_open closed");
        assert_eq!(check("b b b b b +30 g g b g"), "closed open half_open open refused");
        assert_eq!(check("b b b b b +30 ? ? ? ?"), "closed open half_open refused");
        assert_eq!(check("b b b b b +30 u u u u u g g g"), "closed open half_open closed");
    }

    #[test]
    fn an_outcome_counts_only_for_the_state_it_was_asked_in() {
        let mut breaker = Breaker::new(BreakerConfig::default());
        let now = Moment::default();
        let late = breaker.ask(now).unwrap();
        for _ in 0..5 {
            let permit = breaker.ask(now).unwrap();
            breaker.note(permit, Outcome::Bad, now);
        }
        let later = now + Duration::from_secs(30);
        breaker.ask(later).unwrap();
        breaker.note(late, Outcome::Bad, later);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn says_how_long_to_wait() {
        let mut breaker = Breaker::new(BreakerConfig::default());
        let now = Moment::default();
        for _ in 0..5 {
            let permit = breaker.ask(now).unwrap();
            breaker.note(permit, Outcome::Bad, now);
        }
        assert_eq!(breaker.ask(now + Duration::from_secs(10)), Err(Duration::from_secs(20)));
    }
}
