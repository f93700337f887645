//! Where a saga is: what its events add up to. Each variant holds only its own data.
//!
//! Its times are the wall clock's, as its events' are. That clock may be set while the saga is in memory; the replica that runs it
//! then moves the times along ([`State::clock_was_set`]), so that a wait lasts as long as it was meant to.
//!
//! Must not know: how a saga comes from one state to another (`transition`), what follows from a state (`plan`), steps' outputs.

use std::time::Duration;

use amends_primitives::Timestamp;

use crate::{
    Cause, Failure, Refusal, Status,
    operator::Operator,
    shape::{Role, Shape, StepIndex},
};

/// A saga, without its typed state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// How many events it is the sum of.
    pub seq: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// Where it is going.
    pub phase: Phase,
    /// Where each of its steps is.
    pub steps: Vec<StepState>,
    /// Who asked for its end, if an operator did.
    pub cancel: Option<Operator>,
}

/// Where a saga is going.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Forward.
    Running,
    /// Back.
    Unwinding {
        /// Why.
        failure: Failure,
    },
    /// Nowhere: all steps are done.
    Completed,
    /// Nowhere: nothing it did is left.
    Unwound {
        /// Why.
        failure: Failure,
    },
    /// Nowhere, until a human helps.
    Parked {
        /// The last cause.
        cause: Cause,
        /// Where it was going: `None` is forward, a failure is back.
        unwinding: Option<Failure>,
    },
}

/// Where a step is. *In doubt* means that an attempt may have had an effect that this side does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// No attempt was made.
    Untouched,
    /// A replica before this one may have made attempts.
    InDoubt,
    /// An attempt of the action is under way.
    Acting {
        /// From 1.
        attempt: u32,
        /// How many before it ended by what asking again will not change.
        permanent: u32,
        /// Whether an earlier attempt is in doubt.
        in_doubt: bool,
    },
    /// The action is to be asked again.
    Retrying {
        /// Attempts made.
        attempts: u32,
        /// How many of them ended by what asking again will not change: only these use up the budget before parking.
        permanent: u32,
        /// When.
        at: Timestamp,
        /// How long the wait is as a whole. It ends no later than this after the saga was last taken up, whatever clocks say.
        wait: Duration,
        /// The last attempt's.
        cause: Cause,
        /// Whether an attempt is in doubt.
        in_doubt: bool,
    },
    /// The action took effect.
    Done,
    /// The action was refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether an earlier attempt is in doubt all the same.
        in_doubt: bool,
    },
    /// An attempt to compensate it, or to close the pivot, is under way.
    Undoing {
        /// From 1.
        attempt: u32,
        /// How many before it ended by what asking again will not change.
        permanent: u32,
    },
    /// Compensating it, or closing the pivot, is to be tried again.
    UndoRetrying {
        /// Attempts made.
        attempts: u32,
        /// How many of them ended by what asking again will not change: only these use up the budget before parking.
        permanent: u32,
        /// When.
        at: Timestamp,
        /// How long the wait is as a whole.
        wait: Duration,
        /// The last attempt's.
        cause: Cause,
    },
    /// It has no effect and never will.
    Undone,
}

impl StepState {
    /// The variant's name, for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::InDoubt => "in_doubt",
            Self::Acting { .. } => "acting",
            Self::Retrying { .. } => "retrying",
            Self::Done => "done",
            Self::Refused { .. } => "refused",
            Self::Undoing { .. } => "undoing",
            Self::UndoRetrying { .. } => "undo_retrying",
            Self::Undone => "undone",
        }
    }

    /// Whether an attempt is under way.
    pub const fn is_in_flight(&self) -> bool {
        matches!(self, Self::Acting { .. } | Self::Undoing { .. })
    }
}

impl State {
    /// A saga that was just started.
    pub fn started(shape: &Shape, started_at: Timestamp) -> Self {
        Self {
            seq: 0,
            started_at,
            phase: Phase::Running,
            steps: vec![StepState::Untouched; shape.steps.len()],
            cancel: None,
        }
    }

    /// The wall clock was set, by as much as `moved` says of any time: the saga's times move along. They are where they were on the
    /// monotonic clock.
    pub(crate) fn clock_was_set(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        self.started_at = moved(self.started_at);
        for step in &mut self.steps {
            if let StepState::Retrying { at, .. } | StepState::UndoRetrying { at, .. } = step {
                *at = moved(*at);
            }
        }
    }

    /// One step's state.
    pub fn step(&self, index: StepIndex) -> &StepState {
        &self.steps[index.position()]
    }

    pub(crate) fn step_mut(&mut self, index: StepIndex) -> &mut StepState {
        &mut self.steps[index.position()]
    }

    /// What the world may know.
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Running => Status::Running,
            Phase::Unwinding { .. } => Status::Unwinding,
            Phase::Completed => Status::Completed,
            Phase::Unwound { .. } => Status::Unwound,
            Phase::Parked { .. } => Status::Parked,
        }
    }

    /// Why it does not go through.
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.phase {
            Phase::Unwinding { failure } | Phase::Unwound { failure } => Some(failure),
            Phase::Parked { unwinding, .. } => unwinding.as_ref(),
            Phase::Running | Phase::Completed => None,
        }
    }

    /// Why it is parked.
    pub const fn parked(&self) -> Option<&Cause> {
        match &self.phase {
            Phase::Parked { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// The first stage with a step that is not done.
    pub fn stage(&self, shape: &Shape) -> Option<usize> {
        shape.stages.iter().position(|stage| stage.iter().any(|index| *self.step(*index) != StepState::Done))
    }

    /// Whether the saga can only go forward. Known from the pivot alone: a replica before this one may have come further than the
    /// journal tells, and only the pivot's participant can say so.
    pub fn is_committed(&self, shape: &Shape) -> bool {
        match shape.pivot() {
            Some(pivot) => *self.step(pivot) == StepState::Done,
            // From its first step on: its start was the decision.
            None => shape.commit_stage == Some(0),
        }
    }

    /// Whether unwinding has to compensate this step, or to close it if it is the pivot.
    pub fn owes_undo(&self, shape: &Shape, index: StepIndex) -> bool {
        let (step, state) = (shape.step(index), self.step(index));
        if matches!(state, StepState::Undoing { .. } | StepState::UndoRetrying { .. }) {
            return true;
        }
        match (step.role, step.local) {
            // Never in doubt: it commits with the journal.
            (Role::Compensable, true) => *state == StepState::Done,
            (Role::Compensable, false) => match state {
                StepState::Untouched
                | StepState::Undone
                | StepState::Refused { in_doubt: false, .. }
                // None of its attempts was sent.
                | StepState::Retrying { in_doubt: false, .. } => false,
                StepState::Done
                | StepState::InDoubt
                | StepState::Acting { .. }
                | StepState::Retrying { in_doubt: true, .. }
                | StepState::Refused { in_doubt: true, .. }
                | StepState::Undoing { .. }
                | StepState::UndoRetrying { .. } => true,
            },
            // Closed whenever it was attempted, even if refused: the one step that may not happen late.
            (Role::Pivot, false) => !matches!(state, StepState::Untouched | StepState::Undone | StepState::Done),
            // After a pivot that is not done nothing was begun.
            (Role::Pivot, true) | (Role::Retriable, _) => false,
        }
    }

    /// Whether an attempt of any step is under way.
    pub fn is_in_flight(&self) -> bool {
        self.steps.iter().any(StepState::is_in_flight)
    }

    /// The step it is at, for lists: the first of its stage that is not done, or the last that is still to be undone.
    pub fn current_step(&self, shape: &Shape) -> Option<StepIndex> {
        let unwinding = match &self.phase {
            Phase::Running => false,
            Phase::Unwinding { .. } => true,
            Phase::Parked { unwinding, .. } => unwinding.is_some(),
            Phase::Completed | Phase::Unwound { .. } => return None,
        };
        if unwinding {
            let pivot = shape.pivot().filter(|pivot| self.owes_undo(shape, *pivot));
            return pivot.or_else(|| shape.indices().filter(|index| self.owes_undo(shape, *index)).last());
        }
        shape.indices().find(|index| *self.step(*index) != StepState::Done)
    }
}
