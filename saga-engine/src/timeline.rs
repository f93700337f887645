//! A saga's history for people: one row for each step and phase, folded from its events.

use amends_primitives::Timestamp;

use crate::{Failure, Status, TraceContext, journal::SagaRow};

/// What happened to a saga.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The saga's row.
    pub row: SagaRow,
    /// Its steps, in the order in which they began.
    pub entries: Vec<TimelineEntry>,
}

/// One step in one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The step.
    pub step: String,
    /// What was made of it.
    pub phase: Phase,
    /// How often, as far as it is known.
    pub attempts: u32,
    /// How it ended, or how it stands.
    pub outcome: EntryOutcome,
    /// The stable code of the last refusal or cause, if there was one.
    pub code: Option<String>,
    /// The sentence to it.
    pub detail: Option<String>,
    /// When the first attempt began.
    pub started_at: Timestamp,
    /// When the last attempt ended, if it did.
    pub finished_at: Option<Timestamp>,
}

/// What was made of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its action.
    Action,
    /// Its compensation.
    Compensation,
    /// The closing of the pivot.
    Close,
}

impl Phase {
    /// The displayed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
            Self::Close => "close",
        }
    }
}

/// How a step stands in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryOutcome {
    /// An attempt is under way.
    InFlight,
    /// The action took effect; or, closing the pivot, it was found to have.
    Done,
    /// The action was refused.
    Refused,
    /// It is not known whether the action took effect.
    Unknown,
    /// The compensation is done.
    Undone,
    /// The pivot is closed.
    Closed,
    /// A compensation or a close did not succeed yet.
    NotYet,
}

impl EntryOutcome {
    /// The displayed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Undone => "undone",
            Self::Closed => "closed",
            Self::NotYet => "not_yet",
        }
    }
}

impl Timeline {
    /// Where the saga is.
    pub const fn status(&self) -> Status {
        self.row.status
    }

    /// Why it did not go through.
    pub const fn failure(&self) -> Option<&Failure> {
        self.row.failure.as_ref()
    }

    /// The trace it belongs to.
    pub const fn trace(&self) -> &TraceContext {
        &self.row.trace
    }
}
