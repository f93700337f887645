//! Lists and counts, for operators.

use std::time::Duration;

use amends_primitives::{SagaId, Timestamp};

use super::{DefinitionId, SagaRow};
use crate::Status;

/// Which sagas to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Only in this status.
    pub status: Option<Status>,
    /// Only of this definition.
    pub definition: Option<String>,
    /// Only at this step.
    pub step: Option<String>,
    /// Only about this subject.
    pub subject: Option<String>,
    /// Only of this trace: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// Only those started before.
    pub created_before: Option<Timestamp>,
    /// Only those after this one in the listing's order, which is newest first.
    pub cursor: Option<SagaId>,
    /// How many at the most; 1 to [`PAGE_MAX`], 0 stands for [`PAGE_DEFAULT`].
    pub limit: u32,
}

/// A listing's page when none is asked for.
pub const PAGE_DEFAULT: u32 = 50;
/// More rows keep one reader busy for longer than a statement may run.
pub const PAGE_MAX: u32 = 500;

impl Filter {
    /// The page's size within its bounds.
    pub const fn page_size(&self) -> u32 {
        match self.limit {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => self.limit,
            _ => PAGE_MAX,
        }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Sagas, newest first.
    pub rows: Vec<SagaRow>,
    /// For [`Filter::cursor`], when there may be more.
    pub next: Option<SagaId>,
}

/// Counts of what has not finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// By definition and status. What has finished is not counted: that would read the whole table.
    pub counts: Vec<StatsRow>,
    /// Replicas whose lease has not run out.
    pub replicas: u64,
}

impl Stats {
    /// How long the oldest active saga has been there.
    pub fn oldest_active(&self) -> Option<Duration> {
        self.counts.iter().filter(|row| row.status.is_active()).map(|row| row.oldest).max()
    }
}

/// One count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsRow {
    /// What kind of saga.
    pub definition: DefinitionId,
    /// In which status.
    pub status: Status,
    /// How many.
    pub count: u64,
    /// How long ago the oldest of them was started.
    pub oldest: Duration,
}
