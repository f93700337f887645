//! The real pure machine as a table: every state that `plan` and `transition` can bring a saga to, and every move from it. The machine
//! is a function of its arguments, so looking a move up is asking it.
//!
//! Time stands still and waits are zero: whatever may happen after a wait may happen now, and a deadline is a cancellation.

use std::{collections::HashMap, time::Duration};

use amends_primitives::Timestamp;
use serde_json::Value;

use super::Bug;
use crate::{
    Backoff, Cause, CauseKind, Closed, Failure, FailureKind, Journaling, Outcome, Persistence, Policy, Refusal, Status,
    Undo,
    event::{Event, Record},
    journal::{Operator, OperatorRequest, Wish},
    plan::{self, Conclusion, Effect, EffectKind, Next},
    shape::{Role, Shape, StepIndex, StepShape},
    state::{Phase, State, StepState},
    transition,
};

const NOW: Timestamp = Timestamp::from_millis(0);
const NAMES: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// Enough that an attempt is repeated, and that what may not give up is.
const ATTEMPTS_MAX: u32 = 2;

/// Stages of steps, as a builder would make them.
pub(super) fn shape(stages: &[&[Role]]) -> Shape {
    let policy = Policy {
        attempts_max: ATTEMPTS_MAX,
        backoff: Backoff { first: Duration::ZERO, ..Backoff::default() },
        persistence: Persistence { attempts_before_parking: ATTEMPTS_MAX, ..Persistence::default() },
        ..Policy::default()
    };
    let (mut steps, mut indices) = (Vec::new(), Vec::new());
    for (stage, roles) in stages.iter().enumerate() {
        indices.push((0..roles.len()).map(|offset| StepIndex::at(steps.len() + offset)).collect());
        for role in *roles {
            let step = StepShape { name: NAMES[steps.len()], role: *role, local: false, policy: policy.clone(), stage };
            steps.push(step);
        }
    }
    let pivot = stages.iter().position(|roles| roles.contains(&Role::Pivot));
    Shape {
        name: "modelled",
        version: 1,
        steps,
        stages: indices,
        commit_stage: pivot.map(|stage| stage + 1),
        deadline: None,
        journaling: Journaling::Decisions,
    }
}

/// A state of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u16);

/// What a replica learns of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Learnt {
    /// Done; undone; closed.
    Yes,
    /// Refused; of a close: it was done.
    No,
    /// Nothing in time, or nothing that says anything.
    Nothing,
    /// That it was never sent. No answer says so.
    NotSent,
}

impl Learnt {
    pub(super) const ANSWERS: [Self; 3] = [Self::Yes, Self::No, Self::Nothing];
    const COUNT: usize = 4;
}

/// What a saga does next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Todo {
    Perform(Vec<Effect>, Id),
    Decide { after: Id, unwinds: bool },
    Wait,
    Settled,
}

/// The moves from one state.
#[derive(Debug)]
struct Moves {
    todo: Todo,
    in_flight: Vec<Effect>,
    /// By step and what is learnt.
    concluded: Vec<[Option<Id>; Learnt::COUNT]>,
    resumed: Option<Id>,
    cancelled: Option<Id>,
    retried: Option<Id>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) shape: Shape,
    bug: Bug,
    /// What an attempt is ended by whose outcome is not learnt.
    pub(super) nothing: CauseKind,
    states: Vec<State>,
    known: HashMap<String, Id>,
    moves: Vec<Moves>,
}

impl Machine {
    pub(super) const START: Id = Id(0);

    pub(super) fn new(shape: Shape, bug: Bug, nothing: CauseKind) -> Self {
        let mut machine = Self { shape, bug, nothing, states: Vec::new(), known: HashMap::new(), moves: Vec::new() };
        machine.intern(State::started(&machine.shape, NOW));
        while machine.moves.len() < machine.states.len() {
            let moves = machine.explore(&machine.states[machine.moves.len()].clone());
            machine.moves.push(moves);
        }
        machine
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn status(&self, id: Id) -> Status {
        self.state(id).status()
    }

    pub(super) fn state(&self, id: Id) -> &State {
        &self.states[usize::from(id.0)]
    }

    pub(super) fn todo(&self, id: Id) -> &Todo {
        &self.moves(id).todo
    }

    pub(super) fn in_flight(&self, id: Id) -> &[Effect] {
        &self.moves(id).in_flight
    }

    pub(super) fn concluded(&self, id: Id, step: usize, learnt: Learnt) -> Option<Id> {
        self.moves(id).concluded[step][learnt as usize]
    }

    pub(super) fn resumed(&self, id: Id) -> Option<Id> {
        self.moves(id).resumed
    }

    pub(super) fn cancelled(&self, id: Id) -> Option<Id> {
        self.moves(id).cancelled
    }

    pub(super) fn retried(&self, id: Id) -> Option<Id> {
        self.moves(id).retried
    }

    fn moves(&self, id: Id) -> &Moves {
        &self.moves[usize::from(id.0)]
    }

    fn intern(&mut self, mut state: State) -> Id {
        without_words(&self.shape, &mut state);
        let key = format!("{state:?}");
        let next = Id(u16::try_from(self.states.len()).unwrap());
        let id = *self.known.entry(key).or_insert(next);
        if id == next {
            self.states.push(state);
        }
        id
    }

    /// What the events make of the state; nothing if the real machine calls one of them illegal.
    fn after(&mut self, state: &State, events: impl IntoIterator<Item = Event>) -> Option<Id> {
        let mut state = state.clone();
        for event in events {
            let (before, record) = (state.clone(), Record { at: NOW, event });
            transition::apply(&self.shape, &mut state, &record).ok()?;
            match record.event {
                Event::Unwinding { .. } => self.forget(&mut state),
                Event::StepUnknown { not_sent: true, .. } if self.bug == Bug::NotSentClearsDoubt => {
                    trust_what_was_not_sent(&mut state, |_| true);
                }
                Event::Resumed { .. } if self.bug == Bug::ResumedWithoutDoubt => {
                    let had_none = |at: usize| matches!(before.steps[at], StepState::Retrying { in_doubt: false, .. });
                    trust_what_was_not_sent(&mut state, had_none);
                }
                _ => {}
            }
        }
        Some(self.intern(state))
    }

    /// The seeded bugs of the decision to unwind: it overlooks what it owes.
    fn forget(&self, state: &mut State) {
        for index in self.shape.indices() {
            let overlooked = match self.bug {
                Bug::OnlyCompletedCompensated => self.shape.step(index).role == Role::Compensable,
                Bug::PivotLeftOpen => self.shape.step(index).role == Role::Pivot,
                _ => false,
            };
            if overlooked && *state.step(index) != StepState::Done {
                *state.step_mut(index) = StepState::Undone;
            }
        }
    }

    fn explore(&mut self, state: &State) -> Moves {
        let todo = match plan::next(&self.shape, state, NOW) {
            Next::Perform(effects) => {
                let started: Vec<_> = effects.iter().map(|effect| plan::started(&self.shape, *effect)).collect();
                let after = self.after(state, started).expect("what is planned is legal");
                Todo::Perform(effects, after)
            }
            Next::Decide(event) => {
                let unwinds = matches!(event, Event::Unwinding { .. });
                Todo::Decide { after: self.after(state, [event]).expect("what is decided is legal"), unwinds }
            }
            Next::Wait(_) => Todo::Wait,
            Next::Settled => Todo::Settled,
            Next::Change(effect) => unreachable!("no step is local: {effect:?}"),
        };
        let in_flight: Vec<Effect> =
            self.shape.indices().filter_map(|index| under_way(&self.shape, state, index)).collect();
        let mut concluded = vec![[None; Learnt::COUNT]; self.shape.steps.len()];
        for effect in &in_flight {
            let not_sent = (effect.kind == EffectKind::Act).then_some(Learnt::NotSent);
            for learnt in Learnt::ANSWERS.into_iter().chain(not_sent) {
                let event = plan::concluded(
                    &self.shape,
                    state,
                    *effect,
                    conclusion(effect.kind, learnt, self.nothing),
                    NOW,
                    0.0,
                );
                concluded[effect.step.position()][learnt as usize] = self.after(state, [event]);
            }
        }
        let resumed = self.after(state, [Event::Resumed { replica: "another".into(), fence: 2 }]);
        let [cancelled, retried] = [Wish::Cancel, Wish::Retry].map(|wish| {
            let request = OperatorRequest { operator: operator(), wish, at: NOW };
            let event = plan::requested(&self.shape, state, &request);
            (!matches!(event, Event::RequestRefused { .. })).then(|| self.after(state, [event])).flatten()
        });
        Moves { todo, in_flight, concluded, resumed, cancelled, retried }
    }
}

/// The seeded bugs of attempts that were not sent: steps that wait for their next attempt are taken for untouched.
fn trust_what_was_not_sent(state: &mut State, which: impl Fn(usize) -> bool) {
    for (at, step) in state.steps.iter_mut().enumerate() {
        if which(at)
            && let StepState::Retrying { in_doubt, .. } = step
        {
            *in_doubt = false;
        }
    }
}

fn operator() -> Operator {
    Operator { who: "the operator".into(), why: "by chance".into() }
}

fn under_way(shape: &Shape, state: &State, step: StepIndex) -> Option<Effect> {
    match state.step(step) {
        StepState::Acting { attempt, .. } => Some(Effect { kind: EffectKind::Act, step, attempt: *attempt }),
        StepState::Undoing { attempt, .. } => {
            let kind = if plan::is_pivot(shape, step) { EffectKind::Close } else { EffectKind::Compensate };
            Some(Effect { kind, step, attempt: *attempt })
        }
        _ => None,
    }
}

fn conclusion(kind: EffectKind, learnt: Learnt, nothing: CauseKind) -> Conclusion {
    let cause = || Cause { kind: nothing, ..Cause::environment("", "") };
    match (kind, learnt) {
        (EffectKind::Act, Learnt::Yes) => Conclusion::Acted(Outcome::Done(Value::Null)),
        (EffectKind::Act, Learnt::No) => Conclusion::Acted(Outcome::Refused(Refusal::new("", ""))),
        (EffectKind::Act, Learnt::Nothing) => Conclusion::Acted(Outcome::Unknown(cause())),
        (EffectKind::Act, Learnt::NotSent) => Conclusion::Acted(Outcome::NotSent(Cause::environment("", ""))),
        (EffectKind::Compensate, Learnt::Yes) => Conclusion::Compensated(Undo::Undone),
        (EffectKind::Compensate, _) => Conclusion::Compensated(Undo::NotYet(cause())),
        (EffectKind::Close, Learnt::Yes) => Conclusion::Closed(Closed::Closed),
        (EffectKind::Close, Learnt::No) => Conclusion::Closed(Closed::WasDone(Value::Null)),
        (EffectKind::Close, Learnt::Nothing | Learnt::NotSent) => Conclusion::Closed(Closed::NotYet(cause())),
    }
}

/// What is only told to people steers nothing, nor does how many events it took.
fn without_words(shape: &Shape, state: &mut State) {
    let failure = || Failure { step: None, kind: FailureKind::Refused, code: String::new(), message: String::new() };
    state.seq = 0;
    match &mut state.phase {
        Phase::Running | Phase::Completed => {}
        Phase::Unwinding { failure: words } | Phase::Unwound { failure: words } => *words = failure(),
        Phase::Parked { cause, unwinding } => {
            *cause = Cause::environment("", "");
            if let Some(words) = unwinding {
                *words = failure();
            }
        }
    }
    // What may give up counts its attempts, what may not those that use up its budget. The other number changes nothing.
    let may_give_up = !state.is_committed(shape);
    for step in &mut state.steps {
        match step {
            StepState::Retrying { attempts, permanent, cause, .. } => {
                *cause = Cause::environment("", "");
                if may_give_up {
                    *permanent = 0;
                } else {
                    *attempts = *permanent;
                }
            }
            StepState::Acting { attempt, permanent, .. } => {
                if may_give_up {
                    *permanent = 0;
                } else {
                    *attempt = *permanent + 1;
                }
            }
            StepState::UndoRetrying { attempts, permanent, cause, .. } => {
                *cause = Cause::environment("", "");
                *attempts = *permanent;
            }
            StepState::Undoing { attempt, permanent } => *attempt = *permanent + 1,
            _ => {}
        }
    }
}
