//! What operators ask of sagas. A request waits in the saga's row until a replica journals what becomes of it.

use amends_primitives::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Status;

/// Who asks, and why: journaled with what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operator {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What an operator asks of a saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorRequest {
    /// Who asks, and why.
    #[serde(flatten)]
    pub operator: Operator,
    /// What is asked.
    #[serde(flatten)]
    pub wish: Wish,
    /// When it was asked.
    pub at: Timestamp,
}

impl Eq for OperatorRequest {}

/// What may be asked of a saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wish {
    /// Unwind it, if its pivot is not done.
    Cancel,
    /// Try again what it is parked at or waits to try again, with a fresh budget.
    Retry,
    /// Take a step's fate as settled by hand.
    Resolve {
        /// The step.
        step: String,
        /// Its fate.
        resolution: Resolution,
    },
}

/// How a human settled a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum Resolution {
    /// Its action is done.
    Done {
        /// The action's output, as the step's type has it; `null` where it has none.
        #[serde(default)]
        output: serde_json::Value,
    },
    /// Its action is undone, or closed, or never happened.
    Undone,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Requested {
    /// It is stored; the saga's owner will journal it.
    Accepted,
    /// Another request is waiting; ask again later.
    Busy,
    /// The saga is not in a status in which this can be asked.
    NotInStatus(Status),
    /// There is no such saga.
    NotFound,
}
