//! How often a store was asked and how often it committed: what an order costs, in units that no machine's speed changes.
//! `cargo xtask price` bounds them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of one store, over all of its connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    statements: AtomicU64,
    commits: AtomicU64,
}

/// What a store was asked for since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Statements that were sent, savepoints among them. `BEGIN`, `COMMIT` and `ROLLBACK` are not: each transaction has its two.
    pub statements: u64,
    /// Transactions that were committed, and statements outside of one that changed rows. (One that returns the rows it changes is not
    /// known to have changed them, and is none of these.)
    pub commits: u64,
}

impl Counters {
    pub(crate) fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        Counts { statements: self.statements.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }
}
