//! Properties of the pure machine: whatever participants answer and whenever replicas change, it only makes legal moves, keeps the
//! order of things, and ends.

use std::{collections::HashMap, time::Duration};

use amends_primitives::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    Cause, Closed, Journaling, Outcome, Policy, Refusal, Undo,
    event::{Event, Record},
    journal::Operator,
    plan::{self, Conclusion, Effect, EffectKind, Next},
    shape::{Role, Shape, StepIndex, StepShape},
    state::{State, StepState},
    transition::apply,
};

const STEPS: [&str; 9] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];

/// Any definition a builder can make: stages of compensable steps, perhaps a pivot, stages of retriable steps; some local.
fn shapes() -> impl Strategy<Value = Shape> {
    let stage = prop_oneof![3 => Just((1_usize, false)), 2 => Just((2, false)), 1 => Just((1, true))];
    let stages = |max| prop::collection::vec(stage.clone(), 0..=max);
    (stages(2), 0..3_u8, stages(2), 1..4_u32).prop_filter_map(
        "a step at least",
        |(before, pivot, after, attempts_max)| {
            let mut shape = Shape {
                name: "any",
                version: 1,
                steps: Vec::new(),
                stages: Vec::new(),
                commit_stage: None,
                deadline: Some(Duration::from_secs(30)),
                journaling: Journaling::Decisions,
            };
            let push = |shape: &mut Shape, role, count, local| {
                let stage = shape.stages.len();
                let mut indices = Vec::new();
                for _ in 0..count {
                    indices.push(StepIndex::at(shape.steps.len()));
                    let policy = Policy::default().attempts(attempts_max);
                    shape.steps.push(StepShape { name: STEPS[shape.steps.len()], role, local, policy, stage });
                }
                shape.stages.push(indices);
            };
            for (count, local) in before {
                push(&mut shape, Role::Compensable, count, local);
            }
            if pivot > 0 {
                push(&mut shape, Role::Pivot, 1, pivot == 2);
                shape.commit_stage = Some(shape.stages.len());
                for (count, local) in after {
                    push(&mut shape, Role::Retriable, count, local);
                }
            }
            (!shape.steps.is_empty()).then_some(shape)
        },
    )
}

/// What the world does next: how a call ends, and what else happens.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    Refuses,
    EffectUnknown,
    NothingUnknown,
    /// Nothing happens, and the answer says that asking again will not help.
    Broken,
    NotSent,
}

fn fates() -> impl Strategy<Value = Vec<(Fate, u8)>> {
    let fate = prop_oneof![
        6 => Just(Fate::Works),
        1 => Just(Fate::Refuses),
        1 => Just(Fate::EffectUnknown),
        1 => Just(Fate::NothingUnknown),
        1 => Just(Fate::Broken),
        1 => Just(Fate::NotSent),
    ];
    // The number: below 8 another replica takes over, and forgets what was not journaled; 8 cancels; 9 lets much time pass.
    prop::collection::vec((fate, any::<u8>()), 0..60)
}

/// A participant for each step, as the barrier makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Book {
    #[default]
    Blank,
    Done,
    Buried,
}

struct World<'a> {
    shape: &'a Shape,
    state: State,
    /// As another replica would read it.
    durable: State,
    books: HashMap<StepIndex, Book>,
    now: Timestamp,
    unwinding_journaled: bool,
}

impl World<'_> {
    fn happens(&mut self, event: Event) {
        let record = Record { at: self.now, event };
        if let Err(error) = apply(self.shape, &mut self.state, &record) {
            panic!("{error}: {:?} in {:#?}", record.event, self.state);
        }
        if matches!(record.event, Event::PivotWasDone { .. }) {
            self.unwinding_journaled = false;
        }
    }

    fn journaled(&mut self) {
        self.durable = self.state.clone();
    }

    fn take_over(&mut self) {
        self.state = self.durable.clone();
        self.unwinding_journaled = self.state.failure().is_some();
        self.happens(Event::Resumed { replica: "next".into(), fence: 2 });
    }

    fn perform(&mut self, effect: Effect, fate: Fate) -> Conclusion {
        let committed = self.state.is_committed(self.shape);
        let book = self.books.entry(effect.step).or_default();
        let cause = match fate {
            Fate::Broken => Cause::permanent("broken", "a mistake"),
            _ => Cause::environment("unknown", "who knows"),
        };
        match effect.kind {
            EffectKind::Act => {
                assert!(!self.unwinding_journaled, "an action after the decision to unwind");
                match fate {
                    Fate::NothingUnknown | Fate::Broken => return Conclusion::Acted(Outcome::Unknown(cause)),
                    Fate::NotSent => return Conclusion::Acted(Outcome::NotSent(cause)),
                    _ => {}
                }
                match (*book, fate) {
                    (Book::Buried, _) => Conclusion::Acted(Outcome::Refused(Refusal::new("buried", "too late"))),
                    (Book::Blank, Fate::Refuses) if !committed => {
                        Conclusion::Acted(Outcome::Refused(Refusal::new("refused", "no")))
                    }
                    (_, Fate::EffectUnknown) => {
                        *book = Book::Done;
                        Conclusion::Acted(Outcome::Unknown(cause))
                    }
                    _ => {
                        *book = Book::Done;
                        Conclusion::Acted(Outcome::Done(Value::Null))
                    }
                }
            }
            EffectKind::Compensate => {
                assert!(self.unwinding_journaled, "a compensation before the decision to unwind was journaled");
                let pivot_done = self.shape.pivot().is_some_and(|pivot| self.books.get(&pivot) == Some(&Book::Done));
                assert!(!pivot_done, "a compensation although the pivot is done");
                if matches!(fate, Fate::NothingUnknown | Fate::Broken | Fate::NotSent | Fate::Refuses) {
                    return Conclusion::Compensated(Undo::NotYet(cause));
                }
                self.books.insert(effect.step, Book::Buried);
                match fate {
                    Fate::EffectUnknown => Conclusion::Compensated(Undo::NotYet(cause)),
                    _ => Conclusion::Compensated(Undo::Undone),
                }
            }
            EffectKind::Close => {
                assert!(self.unwinding_journaled, "a close before the decision to unwind was journaled");
                if matches!(fate, Fate::NothingUnknown | Fate::Broken | Fate::NotSent | Fate::Refuses) {
                    return Conclusion::Closed(Closed::NotYet(cause));
                }
                if *book == Book::Done {
                    return Conclusion::Closed(Closed::WasDone(Value::Null));
                }
                *book = Book::Buried;
                match fate {
                    Fate::EffectUnknown => Conclusion::Closed(Closed::NotYet(cause)),
                    _ => Conclusion::Closed(Closed::Closed),
                }
            }
        }
    }

    fn conclude(&mut self, effect: Effect, conclusion: Conclusion) {
        let event = plan::concluded(self.shape, &self.state, effect, conclusion, self.now, 0.5);
        self.happens(event);
    }

    /// One move of the runner.
    fn step(&mut self, fate: Fate) -> bool {
        match plan::next(self.shape, &self.state, self.now) {
            Next::Settled => return false,
            Next::Wait(Some(until)) => {
                assert!(until > self.now, "a wait for the past is a busy loop");
                self.now = until;
            }
            Next::Wait(None) => panic!("waits for nothing: {:#?}", self.state),
            Next::Perform(effects) => {
                assert!(!effects.is_empty());
                let kind = effects[0].kind;
                for effect in &effects {
                    assert_eq!(effect.kind, kind);
                    assert_eq!(self.shape.step(effect.step).stage, self.shape.step(effects[0].step).stage);
                    self.happens(plan::started(self.shape, *effect));
                }
                for effect in effects {
                    let conclusion = self.perform(effect, fate);
                    self.conclude(effect, conclusion);
                }
            }
            Next::Change(effect) => {
                let committed = self.state.is_committed(self.shape);
                self.happens(plan::started(self.shape, effect));
                let refuses = matches!(fate, Fate::Refuses);
                let conclusion = match effect.kind {
                    EffectKind::Act if refuses && !committed => {
                        Conclusion::Acted(Outcome::Refused(Refusal::new("refused", "no")))
                    }
                    EffectKind::Act => {
                        self.books.insert(effect.step, Book::Done);
                        Conclusion::Acted(Outcome::Done(Value::Null))
                    }
                    _ => {
                        self.books.insert(effect.step, Book::Buried);
                        Conclusion::Compensated(Undo::Undone)
                    }
                };
                self.conclude(effect, conclusion);
                self.journaled();
            }
            Next::Decide(event) => {
                assert!(plan::is_decision(&event));
                self.unwinding_journaled |= matches!(event, Event::Unwinding { .. });
                self.happens(event);
                self.journaled();
            }
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_and_the_books_balance(shape in shapes(), fates in fates()) {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let state = State::started(&shape, now);
        let mut world = World {
            durable: state.clone(),
            shape: &shape,
            state,
            books: HashMap::new(),
            now,
            unwinding_journaled: false,
        };
        let mut more = true;
        for (fate, event) in fates {
            match event {
                0..8 if !world.state.status().is_finished() => world.take_over(),
                8 if world.state.status().is_active() => {
                    world.happens(Event::CancelRequested { by: Operator { who: "a".into(), why: "b".into() } });
                    world.journaled();
                }
                9 => world.now = world.now + Duration::from_mins(1),
                _ => {}
            }
            more = world.step(fate);
        }
        // From here on everything works, and so it ends.
        for _ in 0..200 {
            if !more {
                if world.state.parked().is_none() {
                    break;
                }
                world.happens(Event::Retried { by: Operator { who: "a".into(), why: "b".into() } });
            }
            more = world.step(Fate::Works);
        }
        prop_assert!(world.state.status().is_finished(), "{:#?}", world.state);
        let completed = world.state.failure().is_none();
        for index in shape.indices() {
            let book = world.books.get(&index).copied().unwrap_or_default();
            if completed {
                prop_assert_eq!(world.state.step(index), &StepState::Done);
                prop_assert_eq!(book, Book::Done);
            } else {
                prop_assert_ne!(book, Book::Done);
            }
        }
    }
}

/// A saga of one step, which can be compensated.
fn one_step(policy: Policy) -> Shape {
    Shape {
        name: "one",
        version: 1,
        steps: vec![StepShape { name: "s0", role: Role::Compensable, local: false, policy, stage: 0 }],
        stages: vec![vec![StepIndex::at(0)]],
        commit_stage: None,
        deadline: None,
        journaling: Journaling::Decisions,
    }
}

/// Found by the model: as many attempts of an action as may be made of a compensation must not count as compensations.
#[test]
fn a_step_that_gave_up_is_undone_before_any_call() {
    let mut policy = Policy::default().attempts(2);
    policy.persistence.attempts_before_parking = 2;
    let shape = one_step(policy);
    let now = Timestamp::from_millis(0);
    let mut state = State::started(&shape, now);
    let (cause, step) = (Cause::permanent("unknown", "who knows"), || "s0".to_owned());
    for attempt in 1..=2 {
        let begun = Event::StepStarted { step: step(), attempt };
        let ended = Event::StepUnknown { step: step(), attempt, cause: cause.clone(), retry_at: now, not_sent: false };
        for event in [begun, ended] {
            apply(&shape, &mut state, &Record { at: now, event }).unwrap();
        }
    }
    let Next::Decide(event @ Event::Unwinding { .. }) = plan::next(&shape, &state, now) else { panic!("{state:?}") };
    apply(&shape, &mut state, &Record { at: now, event }).unwrap();
    let compensation = Effect { kind: EffectKind::Compensate, step: StepIndex::at(0), attempt: 1 };
    assert_eq!(plan::next(&shape, &state, now), Next::Perform(vec![compensation]));
}

/// In a rolling deployment, a replica of the version before may take over in the middle of unwinding. It cannot read that nothing was sent.
#[test]
fn a_needless_compensation_of_an_earlier_version_is_readable() {
    let shape = one_step(Policy::default().attempts(1));
    let now = Timestamp::from_millis(0);
    let mut state = State::started(&shape, now);
    let (cause, step) = (Cause::environment("circuit_open", "the circuit breaker is open"), || "s0".to_owned());
    let events = |state: &mut State, events: Vec<Event>| {
        for event in events {
            apply(&shape, state, &Record { at: now, event }).unwrap();
        }
    };
    let unanswered =
        Event::StepUnknown { step: step(), attempt: 1, cause: cause.clone(), retry_at: now, not_sent: true };
    events(&mut state, vec![Event::StepStarted { step: step(), attempt: 1 }, unanswered]);
    let Next::Decide(unwinding @ Event::Unwinding { .. }) = plan::next(&shape, &state, now) else {
        panic!("{state:?}")
    };
    events(&mut state, vec![unwinding]);
    assert_eq!(plan::next(&shape, &state, now), Next::Decide(Event::Unwound), "by itself it has nothing to compensate");
    let resumed = |fence| Event::Resumed { replica: "another".into(), fence };
    let not_yet = Event::CompensationNotYet { step: step(), attempt: 1, cause, retry_at: now };
    events(&mut state, vec![resumed(2), Event::CompensationStarted { step: step(), attempt: 1 }, not_yet, resumed(3)]);
    let compensation = Effect { kind: EffectKind::Compensate, step: StepIndex::at(0), attempt: 2 };
    assert_eq!(plan::next(&shape, &state, now), Next::Perform(vec![compensation]));
}

#[test]
fn an_illegal_pair_names_both() {
    let step = |name, role, stage| StepShape { name, role, local: false, policy: Policy::default(), stage };
    let shape = Shape {
        name: "two",
        version: 1,
        steps: vec![step("s0", Role::Compensable, 0), step("s1", Role::Pivot, 1)],
        stages: vec![vec![StepIndex::at(0)], vec![StepIndex::at(1)]],
        commit_stage: Some(2),
        deadline: None,
        journaling: Journaling::Decisions,
    };
    let state = State::started(&shape, Timestamp::from_millis(0));
    let told = |event| {
        let mut tried = state.clone();
        let error = apply(&shape, &mut tried, &Record { at: Timestamp::from_millis(1), event }).unwrap_err();
        assert_eq!(tried, state, "a refused event leaves everything as it was");
        error.to_string()
    };
    let step = || "s0".to_owned();
    assert_eq!(
        told(Event::StepDone { step: step(), attempt: 1, output: Value::Null }),
        "the event step_done cannot happen to a saga that is running with step s0 untouched"
    );
    assert_eq!(
        told(Event::StepStarted { step: step(), attempt: 2 }),
        "the event step_started cannot happen to a saga that is running with step s0 untouched"
    );
    assert_eq!(
        told(Event::StepStarted { step: "s9".into(), attempt: 1 }),
        "the event step_started cannot happen to a saga that is running with no step s9"
    );
    assert_eq!(told(Event::Unwound), "the event unwound cannot happen to a saga that is running");
    assert_eq!(told(Event::Completed), "the event completed cannot happen to a saga that is running");
    assert_eq!(
        told(Event::Compensated { step: step(), attempt: 1 }),
        "the event compensated cannot happen to a saga that is running with step s0 untouched"
    );
}
