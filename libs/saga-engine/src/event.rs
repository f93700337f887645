//! The journal's vocabulary: one closed enum. Each variant's name carries its version and has a golden file under `tests/golden`;
//! a changed shape is a new variant, and the old one stays readable as long as rows may hold it. The one exception is a field that may be
//! absent, and that a replica which does not know it can ignore without harm: an event it does not know it could not read at all.
//!
//! Must not know: what follows from an event.

use amends_primitives::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Cause, Failure, Refusal,
    operator::{Operator, Resolution},
};

/// An event and when it happened. Its sequence number is its place in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened to a saga. The saga's start has no event: its row is it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// Another replica, or a restarted one, goes on with it. What the one before had tried without journaling it is in doubt.
    #[serde(rename = "resumed.v1")]
    Resumed {
        /// The replica.
        replica: String,
        /// The fence it owns the saga under.
        fence: u64,
    },
    /// An attempt of an action begins.
    #[serde(rename = "step_started.v1")]
    StepStarted {
        /// The step.
        step: String,
        /// From 1.
        attempt: u32,
    },
    /// The action took effect.
    #[serde(rename = "step_done.v1")]
    StepDone {
        /// The step.
        step: String,
        /// Which attempt said so.
        attempt: u32,
        /// What it answered.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        output: Value,
    },
    /// The action was refused.
    #[serde(rename = "step_refused.v1")]
    StepRefused {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        refusal: Refusal,
        /// After the pivot a refusal cannot stand: when it is tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// The attempt has no answer: the action may have taken effect, unless nothing was sent.
    #[serde(rename = "step_unknown.v1")]
    StepUnknown {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why it is not known.
        cause: Cause,
        /// When it is asked again, unless its attempts are spent.
        retry_at: Timestamp,
        /// Surely nothing was sent. Not in the shape's first edition: a replica that does not know it takes the attempt for one in
        /// doubt and compensates it, which is safe; so this is a field and not another event, which that replica could not read.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        not_sent: bool,
    },
    /// It was decided to take everything back. Journaled before the first compensation.
    #[serde(rename = "unwinding.v1")]
    Unwinding {
        /// Why.
        failure: Failure,
    },
    /// An attempt to close the pivot begins.
    #[serde(rename = "close_started.v1")]
    CloseStarted {
        /// The pivot.
        step: String,
        /// From 1.
        attempt: u32,
    },
    /// The pivot had no effect and never will.
    #[serde(rename = "pivot_closed.v1")]
    PivotClosed {
        /// The pivot.
        step: String,
        /// Which attempt said so.
        attempt: u32,
    },
    /// The pivot had taken effect: the saga goes forward after all.
    #[serde(rename = "pivot_was_done.v1")]
    PivotWasDone {
        /// The pivot.
        step: String,
        /// Which attempt said so.
        attempt: u32,
        /// What it had answered.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        output: Value,
    },
    /// Closing the pivot did not succeed yet.
    #[serde(rename = "close_not_yet.v1")]
    CloseNotYet {
        /// The pivot.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        cause: Cause,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// An attempt of a compensation begins.
    #[serde(rename = "compensation_started.v1")]
    CompensationStarted {
        /// The step.
        step: String,
        /// From 1.
        attempt: u32,
    },
    /// A step is undone.
    #[serde(rename = "compensated.v1")]
    Compensated {
        /// The step.
        step: String,
        /// Which attempt said so.
        attempt: u32,
    },
    /// A compensation did not succeed yet.
    #[serde(rename = "compensation_not_yet.v1")]
    CompensationNotYet {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        cause: Cause,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// An operator asked to cancel it.
    #[serde(rename = "cancel_requested.v1")]
    CancelRequested {
        /// Who and why.
        #[serde(flatten)]
        by: Operator,
    },
    /// It can go on no further by itself.
    #[serde(rename = "parked.v1")]
    Parked {
        /// The step it is stuck at; none when its end could not be written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The last cause.
        cause: Cause,
    },
    /// An operator wants it tried again, with a fresh budget.
    #[serde(rename = "retried.v1")]
    Retried {
        /// Who and why.
        #[serde(flatten)]
        by: Operator,
    },
    /// An operator settled a step by hand.
    #[serde(rename = "resolved.v1")]
    Resolved {
        /// Who and why.
        #[serde(flatten)]
        by: Operator,
        /// The step.
        step: String,
        /// Its fate.
        resolution: Resolution,
    },
    /// What an operator asked for cannot be done; the saga is as before.
    #[serde(rename = "request_refused.v1")]
    RequestRefused {
        /// Who and why.
        #[serde(flatten)]
        by: Operator,
        /// What was asked for, and why it cannot be.
        reason: String,
    },
    /// All steps are done.
    #[serde(rename = "completed.v1")]
    Completed,
    /// Nothing it did is left.
    #[serde(rename = "unwound.v1")]
    Unwound,
}

impl Event {
    /// The event's name without its version, for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Resumed { .. } => "resumed",
            Self::StepStarted { .. } => "step_started",
            Self::StepDone { .. } => "step_done",
            Self::StepRefused { .. } => "step_refused",
            Self::StepUnknown { .. } => "step_unknown",
            Self::Unwinding { .. } => "unwinding",
            Self::CloseStarted { .. } => "close_started",
            Self::PivotClosed { .. } => "pivot_closed",
            Self::PivotWasDone { .. } => "pivot_was_done",
            Self::CloseNotYet { .. } => "close_not_yet",
            Self::CompensationStarted { .. } => "compensation_started",
            Self::Compensated { .. } => "compensated",
            Self::CompensationNotYet { .. } => "compensation_not_yet",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::Parked { .. } => "parked",
            Self::Retried { .. } => "retried",
            Self::Resolved { .. } => "resolved",
            Self::RequestRefused { .. } => "request_refused",
            Self::Completed => "completed",
            Self::Unwound => "unwound",
        }
    }

    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepDone { step, .. }
            | Self::StepRefused { step, .. }
            | Self::StepUnknown { step, .. }
            | Self::CloseStarted { step, .. }
            | Self::PivotClosed { step, .. }
            | Self::PivotWasDone { step, .. }
            | Self::CloseNotYet { step, .. }
            | Self::CompensationStarted { step, .. }
            | Self::Compensated { step, .. }
            | Self::CompensationNotYet { step, .. }
            | Self::Resolved { step, .. } => Some(step),
            Self::Parked { step, .. } => step.as_deref(),
            Self::Resumed { .. }
            | Self::Unwinding { .. }
            | Self::CancelRequested { .. }
            | Self::Retried { .. }
            | Self::RequestRefused { .. }
            | Self::Completed
            | Self::Unwound => None,
        }
    }
}
