//! What the world may know of a saga: its status, and a snapshot for those who wait for it.

use std::str::FromStr;

use amends_primitives::SagaId;
use serde::{Deserialize, Serialize};

use crate::{Cause, Failure};

/// Where a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its actions are being made.
    Running,
    /// It was decided to take back what it did.
    Unwinding,
    /// All steps are done.
    Completed,
    /// Nothing it did is left.
    Unwound,
    /// It can neither go on nor go back by itself: a human is told, nothing is forgotten.
    Parked,
}

amends_primitives::words!(
    Status,
    /// The stored and displayed word.
    as_str {
        Running => "running",
        Unwinding => "unwinding",
        Completed => "completed",
        Unwound => "unwound",
        Parked => "parked",
    }
);

impl Status {
    /// Whether some replica is working on it, or will be.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Unwinding)
    }

    /// Whether it has come to its end. A parked saga has settled for its callers, but has not finished.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Unwound)
    }
}

amends_primitives::display_as!(Status => as_str);

/// The text is not the word for a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a saga status: running, unwinding, completed, unwound or parked is expected")]
pub struct InvalidStatus;

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_name(text).ok_or(InvalidStatus)
    }
}

/// A saga as those who wait for it see it. Only what is durable is shown: a `Completed` seen here survives any crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The saga.
    pub id: SagaId,
    /// Where it is.
    pub status: Status,
    /// Why it does not go through: set from the decision to unwind on.
    pub failure: Option<Failure>,
    /// Why it is parked, while it is.
    pub parked: Option<Cause>,
    /// How many events its journal holds.
    pub seq: u64,
}

impl Snapshot {
    /// Whether waiting any longer is pointless: it has finished, or only a human can move it.
    pub const fn is_settled(&self) -> bool {
        !self.status.is_active()
    }
}
