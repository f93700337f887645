//! `apply(state, event)`: the only place where a saga changes. It checks first and then writes; a pair that cannot be names both.
//!
//! Invariant: nothing here awaits, reads a clock, draws a random number, or decides what should happen next.

use std::time::Duration;

use amends_primitives::Timestamp;

use crate::{
    Cause, CauseKind,
    event::{Event, Record},
    operator::Resolution,
    shape::{Role, Shape, StepIndex},
    state::{Phase, State, StepState},
};

/// The event cannot happen to a saga in this state: the journal is corrupt, or this program is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event {event} cannot happen to a saga that is {saga}{}", .step.as_deref().map(|step| format!(" with {step}")).unwrap_or_default())]
pub struct IllegalEvent {
    /// The event.
    pub event: &'static str,
    /// The saga's status.
    pub saga: &'static str,
    /// The step the event is about, and that step's state.
    pub step: Option<String>,
}

/// Applies an event, or changes nothing.
///
/// # Errors
/// When the event cannot happen to a saga in this state.
pub fn apply(shape: &Shape, state: &mut State, record: &Record) -> Result<(), IllegalEvent> {
    let event = &record.event;
    let index =
        event.step().map(|name| shape.index_of(name).ok_or_else(|| illegal(shape, state, event))).transpose()?;
    match event {
        Event::Resumed { .. } => resumed(shape, state, record)?,
        Event::CancelRequested { by } => {
            check(state.status().is_active(), shape, state, event)?;
            state.cancel.get_or_insert_with(|| by.clone());
        }
        // Only a note.
        Event::RequestRefused { .. } => {}
        Event::Retried { .. } => {
            check(!state.status().is_finished(), shape, state, event)?;
            unpark(state);
            renew_budgets(state, record);
        }
        Event::Unwinding { failure } => {
            let may = state.phase == Phase::Running && !state.is_committed(shape) && !state.is_in_flight();
            check(may, shape, state, event)?;
            state.phase = Phase::Unwinding { failure: failure.clone() };
        }
        Event::Completed => {
            check(state.phase == Phase::Running && state.stage(shape).is_none(), shape, state, event)?;
            state.phase = Phase::Completed;
        }
        Event::Unwound => {
            let owing = shape.indices().any(|index| state.owes_undo(shape, index));
            match &state.phase {
                Phase::Unwinding { failure } if !owing => state.phase = Phase::Unwound { failure: failure.clone() },
                _ => return Err(illegal(shape, state, event)),
            }
        }
        Event::Parked { cause, .. } => {
            check(!state.is_in_flight(), shape, state, event)?;
            let unwinding = match &state.phase {
                Phase::Running => None,
                Phase::Unwinding { failure } => Some(failure.clone()),
                Phase::Completed | Phase::Unwound { .. } | Phase::Parked { .. } => {
                    return Err(illegal(shape, state, event));
                }
            };
            state.phase = Phase::Parked { cause: cause.clone(), unwinding };
        }
        Event::Resolved { resolution, .. } => {
            let index = index.ok_or_else(|| illegal(shape, state, event))?;
            resolved(shape, state, record, index, resolution)?;
        }
        _ => {
            let index = index.ok_or_else(|| illegal(shape, state, event))?;
            on_step(shape, state, record, index)?;
        }
    }
    state.seq += 1;
    Ok(())
}

/// Events of one attempt.
fn on_step(shape: &Shape, state: &mut State, record: &Record, index: StepIndex) -> Result<(), IllegalEvent> {
    let event = &record.event;
    let (running, unwinding) = (state.phase == Phase::Running, matches!(state.phase, Phase::Unwinding { .. }));
    let role = shape.step(index).role;
    let next = match (event, state.step(index)) {
        (Event::StepStarted { attempt, .. }, before) if running => match before {
            StepState::Untouched if *attempt == 1 => StepState::Acting { attempt: 1, permanent: 0, in_doubt: false },
            StepState::InDoubt if *attempt == 1 => StepState::Acting { attempt: 1, permanent: 0, in_doubt: true },
            StepState::Retrying { attempts, permanent, in_doubt, .. } if *attempt == attempts + 1 => {
                StepState::Acting { attempt: *attempt, permanent: *permanent, in_doubt: *in_doubt }
            }
            _ => return Err(illegal(shape, state, event)),
        },
        (Event::StepDone { attempt, .. }, StepState::Acting { attempt: begun, .. }) if running && attempt == begun => {
            StepState::Done
        }
        (
            Event::StepRefused { attempt, refusal, retry_at, .. },
            StepState::Acting { attempt: begun, permanent, in_doubt },
        ) if running && attempt == begun => match retry_at {
            None => StepState::Refused { refusal: refusal.clone(), in_doubt: *in_doubt },
            Some(at) => StepState::Retrying {
                attempts: *attempt,
                permanent: *permanent + 1,
                at: *at,
                wait: at.since(record.at),
                cause: Cause::permanent(&refusal.code, &refusal.message),
                in_doubt: *in_doubt,
            },
        },
        (
            Event::StepUnknown { attempt, cause, retry_at, not_sent, .. },
            StepState::Acting { attempt: begun, permanent, in_doubt },
        ) if running && attempt == begun => StepState::Retrying {
            attempts: *attempt,
            permanent: permanent + counted(cause),
            at: *retry_at,
            wait: retry_at.since(record.at),
            cause: cause.clone(),
            // An attempt that was not sent leaves those before it in doubt, if they were.
            in_doubt: *in_doubt || !*not_sent,
        },

        (Event::CloseStarted { attempt, .. }, before)
            if unwinding && role == Role::Pivot && state.owes_undo(shape, index) =>
        {
            undo_begun(before, *attempt).ok_or_else(|| illegal(shape, state, event))?
        }
        (Event::CompensationStarted { attempt, .. }, before)
            if unwinding && role == Role::Compensable && state.owes_undo(shape, index) && !owes_close(shape, state) =>
        {
            undo_begun(before, *attempt).ok_or_else(|| illegal(shape, state, event))?
        }
        (Event::PivotClosed { attempt, .. }, StepState::Undoing { attempt: begun, .. })
            if unwinding && role == Role::Pivot && attempt == begun =>
        {
            StepState::Undone
        }
        (Event::Compensated { attempt, .. }, StepState::Undoing { attempt: begun, .. })
            if unwinding && role == Role::Compensable && attempt == begun =>
        {
            StepState::Undone
        }
        (Event::CloseNotYet { attempt, cause, retry_at, .. }, StepState::Undoing { attempt: begun, permanent })
            if unwinding && role == Role::Pivot && attempt == begun =>
        {
            not_undone(*attempt, *permanent, cause, *retry_at, record)
        }
        (
            Event::CompensationNotYet { attempt, cause, retry_at, .. },
            StepState::Undoing { attempt: begun, permanent },
        ) if unwinding && role == Role::Compensable && attempt == begun => {
            not_undone(*attempt, *permanent, cause, *retry_at, record)
        }
        (Event::PivotWasDone { attempt, .. }, StepState::Undoing { attempt: begun, .. })
            if unwinding && role == Role::Pivot && attempt == begun =>
        {
            go_forward(state, record);
            StepState::Done
        }
        _ => return Err(illegal(shape, state, event)),
    };
    *state.step_mut(index) = next;
    Ok(())
}

fn undo_begun(before: &StepState, attempt: u32) -> Option<StepState> {
    let (expected, permanent) = match before {
        StepState::UndoRetrying { attempts, permanent, .. } => (attempts + 1, *permanent),
        StepState::Undoing { .. } => return None,
        // What acting ended by says nothing of undoing.
        _ => (1, 0),
    };
    (attempt == expected).then_some(StepState::Undoing { attempt, permanent })
}

fn not_undone(attempt: u32, permanent: u32, cause: &Cause, at: Timestamp, record: &Record) -> StepState {
    StepState::UndoRetrying {
        attempts: attempt,
        permanent: permanent + counted(cause),
        at,
        wait: at.since(record.at),
        cause: cause.clone(),
    }
}

/// What an attempt adds to those that use up the budget before parking.
const fn counted(cause: &Cause) -> u32 {
    match cause.kind {
        CauseKind::Environment => 0,
        CauseKind::Permanent => 1,
    }
}

/// Compensations wait for this.
pub(crate) fn owes_close(shape: &Shape, state: &State) -> bool {
    shape.pivot().is_some_and(|pivot| state.owes_undo(shape, pivot))
}

/// The pivot was done, so every step before it was: by a replica whose journal entries were never written. They are asked again, under
/// their keys, for their outputs.
fn go_forward(state: &mut State, record: &Record) {
    state.phase = Phase::Running;
    for step in &mut state.steps {
        match step {
            StepState::Refused { refusal, .. } => {
                let cause = Cause::permanent(&refusal.code, &refusal.message);
                *step = retrying_at_once(0, 0, cause, true, record);
            }
            StepState::Retrying { cause, .. } => *step = retrying_at_once(0, 0, cause.clone(), true, record),
            _ => {}
        }
    }
}

fn resumed(shape: &Shape, state: &mut State, record: &Record) -> Result<(), IllegalEvent> {
    check(!state.status().is_finished(), shape, state, &record.event)?;
    let interrupted = || Cause::environment("interrupted", "the replica that made the attempt is gone");
    // Clocks may have been set since, and another replica's may differ. A saga has not been under way for less than no time, and no wait
    // is longer than it was meant to be.
    state.started_at = state.started_at.min(record.at);
    let running = state.phase == Phase::Running;
    for index in shape.indices() {
        let local = shape.step(index).local;
        let step = state.step_mut(index);
        match step {
            // Once unwinding was journaled, what had been tried until then is in the journal; and local steps always are.
            StepState::Untouched if running && !local => *step = StepState::InDoubt,
            // Nothing was sent as far as the journal tells, which need not be all that was tried. Unwinding, it is; but a replica of an
            // earlier version, which cannot read that nothing was sent, may compensate it, and that must stay legal.
            StepState::Retrying { at, wait, in_doubt, .. } => {
                *at = (*at).min(record.at + *wait);
                *in_doubt |= !local;
            }
            StepState::UndoRetrying { at, wait, .. } => *at = (*at).min(record.at + *wait),
            StepState::Acting { attempt, permanent, .. } => {
                *step = retrying_at_once(*attempt, *permanent, interrupted(), !local, record);
            }
            StepState::Undoing { attempt, permanent } => {
                *step = StepState::UndoRetrying {
                    attempts: *attempt,
                    permanent: *permanent,
                    at: record.at,
                    wait: Duration::ZERO,
                    cause: interrupted(),
                };
            }
            _ => {}
        }
    }
    Ok(())
}

fn resolved(
    shape: &Shape,
    state: &mut State,
    record: &Record,
    index: StepIndex,
    resolution: &Resolution,
) -> Result<(), IllegalEvent> {
    let event = &record.event;
    let Phase::Parked { unwinding, .. } = &state.phase else { return Err(illegal(shape, state, event)) };
    let (role, back) = (shape.step(index).role, unwinding.is_some());
    match resolution {
        Resolution::Done { .. } if !back => {
            check(*state.step(index) != StepState::Done, shape, state, event)?;
            unpark(state);
            *state.step_mut(index) = StepState::Done;
        }
        Resolution::Done { .. } => {
            check(role == Role::Pivot && state.owes_undo(shape, index), shape, state, event)?;
            go_forward(state, record);
            *state.step_mut(index) = StepState::Done;
        }
        Resolution::Undone => {
            // Until the pivot is closed it is not known whether anything before it is to be undone.
            let in_turn = role == Role::Pivot || !owes_close(shape, state);
            check(back && in_turn && state.owes_undo(shape, index), shape, state, event)?;
            unpark(state);
            *state.step_mut(index) = StepState::Undone;
        }
    }
    renew_budgets(state, record);
    Ok(())
}

fn unpark(state: &mut State) {
    if let Phase::Parked { unwinding, .. } = &state.phase {
        state.phase = match unwinding {
            None => Phase::Running,
            Some(failure) => Phase::Unwinding { failure: failure.clone() },
        };
    }
}

fn renew_budgets(state: &mut State, record: &Record) {
    for step in &mut state.steps {
        if let StepState::Retrying { attempts, permanent, at, wait, .. }
        | StepState::UndoRetrying { attempts, permanent, at, wait, .. } = step
        {
            (*attempts, *permanent, *at, *wait) = (0, 0, record.at, Duration::ZERO);
        }
    }
}

const fn retrying_at_once(attempts: u32, permanent: u32, cause: Cause, in_doubt: bool, record: &Record) -> StepState {
    StepState::Retrying { attempts, permanent, at: record.at, wait: Duration::ZERO, cause, in_doubt }
}

fn check(may: bool, shape: &Shape, state: &State, event: &Event) -> Result<(), IllegalEvent> {
    if may { Ok(()) } else { Err(illegal(shape, state, event)) }
}

fn illegal(shape: &Shape, state: &State, event: &Event) -> IllegalEvent {
    let step = event.step().map(|name| match shape.index_of(name) {
        Some(index) => format!("step {name} {}", state.step(index).name()),
        None => format!("no step {name}"),
    });
    IllegalEvent { event: event.name(), saga: state.status().as_str(), step }
}
