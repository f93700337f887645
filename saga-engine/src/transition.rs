//! `apply(state, event)`: the only place where a saga changes. It checks first and then writes; a pair that cannot be names both.
//!
//! Invariant: nothing here awaits, reads a clock, draws a random number, or decides what should happen next.

use crate::{
    Cause,
    event::{Event, Record},
    journal::Resolution,
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
            StepState::Untouched if *attempt == 1 => StepState::Acting { attempt: 1, in_doubt: false },
            StepState::InDoubt if *attempt == 1 => StepState::Acting { attempt: 1, in_doubt: true },
            StepState::Retrying { attempts, in_doubt, .. } if *attempt == attempts + 1 => {
                StepState::Acting { attempt: *attempt, in_doubt: *in_doubt }
            }
            _ => return Err(illegal(shape, state, event)),
        },
        (Event::StepDone { attempt, .. }, StepState::Acting { attempt: begun, .. }) if running && attempt == begun => {
            StepState::Done
        }
        (Event::StepRefused { attempt, refusal, retry_at, .. }, StepState::Acting { attempt: begun, in_doubt })
            if running && attempt == begun =>
        {
            match retry_at {
                None => StepState::Refused { refusal: refusal.clone(), in_doubt: *in_doubt },
                Some(at) => StepState::Retrying {
                    attempts: *attempt,
                    at: *at,
                    cause: Cause::new(&refusal.code, &refusal.message),
                    in_doubt: *in_doubt,
                },
            }
        }
        (
            Event::StepUnknown { attempt, cause, retry_at, not_sent, .. },
            StepState::Acting { attempt: begun, in_doubt },
        ) if running && attempt == begun => {
            // An attempt that was not sent leaves those before it in doubt, if they were.
            let in_doubt = *in_doubt || !*not_sent;
            StepState::Retrying { attempts: *attempt, at: *retry_at, cause: cause.clone(), in_doubt }
        }

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
        (Event::PivotClosed { attempt, .. }, StepState::Undoing { attempt: begun })
            if unwinding && role == Role::Pivot && attempt == begun =>
        {
            StepState::Undone
        }
        (Event::Compensated { attempt, .. }, StepState::Undoing { attempt: begun })
            if unwinding && role == Role::Compensable && attempt == begun =>
        {
            StepState::Undone
        }
        (Event::CloseNotYet { attempt, cause, retry_at, .. }, StepState::Undoing { attempt: begun })
            if unwinding && role == Role::Pivot && attempt == begun =>
        {
            StepState::UndoRetrying { attempts: *attempt, at: *retry_at, cause: cause.clone() }
        }
        (Event::CompensationNotYet { attempt, cause, retry_at, .. }, StepState::Undoing { attempt: begun })
            if unwinding && role == Role::Compensable && attempt == begun =>
        {
            StepState::UndoRetrying { attempts: *attempt, at: *retry_at, cause: cause.clone() }
        }
        (Event::PivotWasDone { attempt, .. }, StepState::Undoing { attempt: begun })
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
    let expected = match before {
        StepState::UndoRetrying { attempts, .. } => attempts + 1,
        StepState::Undoing { .. } => return None,
        _ => 1,
    };
    (attempt == expected).then_some(StepState::Undoing { attempt })
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
                let cause = Cause::new(&refusal.code, &refusal.message);
                *step = StepState::Retrying { attempts: 0, at: record.at, cause, in_doubt: true };
            }
            StepState::Retrying { attempts, at, in_doubt, .. } => (*attempts, *at, *in_doubt) = (0, record.at, true),
            _ => {}
        }
    }
}

fn resumed(shape: &Shape, state: &mut State, record: &Record) -> Result<(), IllegalEvent> {
    check(!state.status().is_finished(), shape, state, &record.event)?;
    let interrupted = || Cause::new("interrupted", "the replica that made the attempt is gone");
    let running = state.phase == Phase::Running;
    for index in shape.indices() {
        let local = shape.step(index).local;
        let step = state.step_mut(index);
        match step {
            // Once unwinding was journaled, what had been tried until then is in the journal; and local steps always are.
            StepState::Untouched if running && !local => *step = StepState::InDoubt,
            // Nothing was sent as far as the journal tells, which need not be all that was tried. Unwinding, it is; but a replica of an
            // earlier version, which cannot read that nothing was sent, may compensate it, and that must stay legal.
            StepState::Retrying { in_doubt, .. } if !local => *in_doubt = true,
            StepState::Acting { attempt, .. } => {
                *step =
                    StepState::Retrying { attempts: *attempt, at: record.at, cause: interrupted(), in_doubt: !local };
            }
            StepState::Undoing { attempt } => {
                *step = StepState::UndoRetrying { attempts: *attempt, at: record.at, cause: interrupted() };
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
        if let StepState::Retrying { attempts, at, .. } | StepState::UndoRetrying { attempts, at, .. } = step {
            (*attempts, *at) = (0, record.at);
        }
    }
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
