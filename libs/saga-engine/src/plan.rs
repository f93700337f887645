//! `next(state, now)`: the only place that decides. Then `started` and `concluded` put into words what the runner does and sees.
//!
//! Invariant: nothing here awaits, reads a clock or draws a random number; they are arguments.

use std::time::Duration;

use amends_primitives::Timestamp;
use serde_json::Value;

use crate::{
    Cause, Closed, Failure, FailureKind, Outcome, Undo,
    event::Event,
    journal::{OperatorRequest, Resolution, Wish},
    retry,
    shape::{Role, Shape, StepIndex},
    state::{Phase, State, StepState},
    transition,
};

/// What to do about a saga now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Begin these attempts.
    Perform(Vec<Effect>),
    /// Write this change of the host's, with the events that it implies, in one commit.
    Change(Effect),
    /// Write this decision before anything else is done.
    Decide(Event),
    /// Nothing until an attempt under way ends, or until then.
    Wait(Option<Timestamp>),
    /// Nothing any more.
    Settled,
}

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effect {
    /// What is attempted.
    pub kind: EffectKind,
    /// Of which step.
    pub step: StepIndex,
    /// From 1.
    pub attempt: u32,
}

/// What is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EffectKind {
    /// The action.
    Act,
    /// The compensation.
    Compensate,
    /// Closing the pivot.
    Close,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Conclusion {
    /// Of an action.
    Acted(Outcome<Value>),
    /// Of a compensation.
    Compensated(Undo),
    /// Of closing the pivot.
    Closed(Closed<Value>),
}

/// Decides.
pub fn next(shape: &Shape, state: &State, now: Timestamp) -> Next {
    match &state.phase {
        Phase::Running => forward(shape, state, now),
        Phase::Unwinding { .. } => back(shape, state, now),
        Phase::Completed | Phase::Unwound { .. } | Phase::Parked { .. } => Next::Settled,
    }
}

fn forward(shape: &Shape, state: &State, now: Timestamp) -> Next {
    let Some(stage) = state.stage(shape) else { return Next::Decide(Event::Completed) };
    let (stage, committed) = (&shape.stages[stage], state.is_committed(shape));
    let deadline = if committed { None } else { shape.deadline.map(|deadline| state.started_at + deadline) };

    let given_up = if committed {
        first_spent(shape, state, stage).map(|(index, cause)| Event::Parked { step: Some(name(shape, index)), cause })
    } else {
        failure(shape, state, stage, deadline, now).map(|failure| Event::Unwinding { failure })
    };
    if let Some(decision) = given_up {
        // What is under way ends first, so that its outcome is known when it is undone.
        return if state.is_in_flight() { Next::Wait(None) } else { Next::Decide(decision) };
    }

    let ready = |index: &StepIndex| match state.step(*index) {
        StepState::Untouched | StepState::InDoubt => Some(1),
        StepState::Retrying { attempts, at, .. } if *at <= now => Some(attempts + 1),
        _ => None,
    };
    let effect =
        |index: &StepIndex| ready(index).map(|attempt| Effect { kind: EffectKind::Act, step: *index, attempt });
    begin(shape, state, stage, stage.iter().filter_map(effect).collect(), deadline)
}

fn back(shape: &Shape, state: &State, now: Timestamp) -> Next {
    // The pivot is closed first, alone: until then it is not known whether the saga goes back at all.
    let pivot = shape.pivot().filter(|pivot| state.owes_undo(shape, *pivot));
    let owing: Vec<StepIndex> = if let Some(pivot) = pivot {
        vec![pivot]
    } else {
        let owing = |stage: &&Vec<StepIndex>| stage.iter().any(|index| state.owes_undo(shape, *index));
        let Some(stage) = shape.stages.iter().rev().find(owing) else { return Next::Decide(Event::Unwound) };
        stage.iter().copied().filter(|index| state.owes_undo(shape, *index)).collect()
    };
    if let Some((index, cause)) = first_spent(shape, state, &owing) {
        let parked = Event::Parked { step: Some(name(shape, index)), cause };
        return if state.is_in_flight() { Next::Wait(None) } else { Next::Decide(parked) };
    }
    let kind = if pivot.is_some() { EffectKind::Close } else { EffectKind::Compensate };
    let effect = |index: &StepIndex| {
        let attempt = match state.step(*index) {
            StepState::UndoRetrying { attempts, at, .. } if *at <= now => attempts + 1,
            StepState::UndoRetrying { .. } | StepState::Undoing { .. } => return None,
            _ => 1,
        };
        Some(Effect { kind, step: *index, attempt })
    };
    begin(shape, state, &owing, owing.iter().filter_map(effect).collect(), None)
}

fn begin(shape: &Shape, state: &State, steps: &[StepIndex], effects: Vec<Effect>, deadline: Option<Timestamp>) -> Next {
    match effects.first() {
        Some(first) if shape.step(first.step).local => Next::Change(*first),
        Some(_) => Next::Perform(effects),
        None => {
            let wakes = steps.iter().filter_map(|index| match state.step(*index) {
                StepState::Retrying { at, .. } | StepState::UndoRetrying { at, .. } => Some(*at),
                _ => None,
            });
            // An attempt under way has a bound of its own.
            let deadline = deadline.filter(|_| !state.is_in_flight());
            Next::Wait(wakes.chain(deadline).min())
        }
    }
}

/// Why the saga cannot go through, before its pivot.
fn failure(
    shape: &Shape,
    state: &State,
    stage: &[StepIndex],
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Option<Failure> {
    let of_step = |index: StepIndex, kind, code: &str, message: &str| {
        Some(Failure { step: Some(name(shape, index)), kind, code: code.to_owned(), message: message.to_owned() })
    };
    for index in stage {
        if let StepState::Refused { refusal, .. } = state.step(*index) {
            return of_step(*index, FailureKind::Refused, &refusal.code, &refusal.message);
        }
    }
    for index in stage {
        if let StepState::Retrying { attempts, at, cause, .. } = state.step(*index) {
            let attempts_max = shape.step(*index).policy.attempts_max.max(1);
            // Waiting beyond the deadline would only find it passed.
            if *attempts >= attempts_max || deadline.is_some_and(|deadline| *at >= deadline) {
                return of_step(*index, FailureKind::Exhausted, &cause.code, &cause.message);
            }
        }
    }
    if let Some(by) = &state.cancel {
        let message = format!("cancelled by {}: {}", by.who, by.why);
        return Some(Failure { step: None, kind: FailureKind::Cancelled, code: "cancelled".into(), message });
    }
    deadline.is_some_and(|deadline| deadline <= now).then(|| Failure {
        step: None,
        kind: FailureKind::DeadlineExceeded,
        code: "deadline_exceeded".into(),
        message: "the saga did not reach its pivot in time".into(),
    })
}

/// The first step whose answer asking again did not change as often as may be without a human. What the environment did to an attempt
/// does not count, however often: it ends by itself, and a human could do nothing about the saga meanwhile. On the way back only attempts
/// to undo the step count: a step that gave up acting has not been undone once.
fn first_spent(shape: &Shape, state: &State, steps: &[StepIndex]) -> Option<(StepIndex, Cause)> {
    let back = matches!(state.phase, Phase::Unwinding { .. });
    steps.iter().find_map(|index| {
        let (permanent, cause) = match state.step(*index) {
            StepState::Retrying { permanent, cause, .. } if !back => (permanent, cause),
            StepState::UndoRetrying { permanent, cause, .. } if back => (permanent, cause),
            _ => return None,
        };
        let budget = shape.step(*index).policy.persistence.attempts_before_parking.max(1);
        (*permanent >= budget).then(|| (*index, cause.clone()))
    })
}

/// How long an attempt may take: its policy's bound, within what is left of the saga's deadline.
pub fn timeout(shape: &Shape, state: &State, effect: Effect, now: Timestamp) -> Duration {
    let timeout = shape.step(effect.step).policy.timeout;
    match shape.deadline {
        Some(deadline) if effect.kind == EffectKind::Act && !state.is_committed(shape) => {
            timeout.min((state.started_at + deadline).since(now))
        }
        _ => timeout,
    }
}

/// The event that an attempt begins.
pub fn started(shape: &Shape, effect: Effect) -> Event {
    let (step, attempt) = (name(shape, effect.step), effect.attempt);
    match effect.kind {
        EffectKind::Act => Event::StepStarted { step, attempt },
        EffectKind::Compensate => Event::CompensationStarted { step, attempt },
        EffectKind::Close => Event::CloseStarted { step, attempt },
    }
}

/// The event that an attempt ended. `jitter` is in `0.0..1.0`.
pub fn concluded(
    shape: &Shape,
    state: &State,
    effect: Effect,
    conclusion: Conclusion,
    now: Timestamp,
    jitter: f64,
) -> Event {
    let (step, attempt, policy) = (name(shape, effect.step), effect.attempt, &shape.step(effect.step).policy);
    let persist = |cause: &Cause| now + retry::persistence(&policy.persistence, attempt, jitter, cause.retry_after);
    let unanswered = |cause: Cause, not_sent| {
        let retry_at = if state.is_committed(shape) {
            persist(&cause)
        } else {
            now + retry::backoff(&policy.backoff, attempt, jitter, cause.retry_after)
        };
        Event::StepUnknown { step: step.clone(), attempt, cause, retry_at, not_sent }
    };
    match conclusion {
        Conclusion::Acted(Outcome::Done(output)) => Event::StepDone { step, attempt, output },
        Conclusion::Acted(Outcome::Refused(refusal)) => {
            let retry_at =
                state.is_committed(shape).then(|| now + retry::persistence(&policy.persistence, attempt, jitter, None));
            Event::StepRefused { step, attempt, refusal, retry_at }
        }
        Conclusion::Acted(Outcome::Unknown(cause)) => unanswered(cause, false),
        Conclusion::Acted(Outcome::NotSent(cause)) => unanswered(cause, true),
        Conclusion::Compensated(Undo::Undone) => Event::Compensated { step, attempt },
        Conclusion::Compensated(Undo::NotYet(cause)) => {
            Event::CompensationNotYet { step, attempt, retry_at: persist(&cause), cause }
        }
        Conclusion::Closed(Closed::Closed) => Event::PivotClosed { step, attempt },
        Conclusion::Closed(Closed::WasDone(output)) => Event::PivotWasDone { step, attempt, output },
        Conclusion::Closed(Closed::NotYet(cause)) => {
            Event::CloseNotYet { step, attempt, retry_at: persist(&cause), cause }
        }
    }
}

/// The event that answers an operator's request.
pub fn requested(shape: &Shape, state: &State, request: &OperatorRequest) -> Event {
    let by = request.operator.clone();
    let refused = |reason: String| Event::RequestRefused { by: by.clone(), reason };
    match &request.wish {
        Wish::Cancel if !state.status().is_active() => refused(format!("cancel: the saga is {}", state.status())),
        Wish::Cancel if state.is_committed(shape) => refused("cancel: the saga is past its pivot".into()),
        Wish::Cancel => Event::CancelRequested { by },
        Wish::Retry if state.status().is_finished() => refused(format!("retry: the saga is {}", state.status())),
        Wish::Retry => Event::Retried { by },
        Wish::Resolve { step, resolution } => {
            let resolved = Event::Resolved { by: by.clone(), step: step.clone(), resolution: resolution.clone() };
            let mut tried = state.clone();
            let record = crate::event::Record { at: request.at, event: resolved.clone() };
            match transition::apply(shape, &mut tried, &record) {
                Ok(()) => resolved,
                Err(error) => refused(format!("resolve {step} as {}: {error}", resolution_name(resolution))),
            }
        }
    }
}

const fn resolution_name(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Done { .. } => "done",
        Resolution::Undone => "undone",
    }
}

/// Whether an event must be durable before the saga goes on. What is not is written with the next that is.
pub const fn is_decision(event: &Event) -> bool {
    matches!(event, Event::Unwinding { .. } | Event::Completed | Event::Unwound | Event::Parked { .. })
}

fn name(shape: &Shape, index: StepIndex) -> String {
    shape.step(index).name.to_owned()
}

/// Whether the step is the pivot, for callers that only hold an index.
pub fn is_pivot(shape: &Shape, index: StepIndex) -> bool {
    shape.step(index).role == Role::Pivot
}
