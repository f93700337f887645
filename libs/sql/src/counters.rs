//! How often a store was asked and how often it committed: what an order costs, in units that no machine's speed changes.
//! `cargo xtask price` bounds them. And how long each statement took, told to a caller that asked for it.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::Error;

use crate::classes::Class;

/// Is told of each statement, after it has ended: must be quick.
pub type Teller = Box<dyn Fn(Operation, Duration, Option<&'static str>) + Send + Sync>;

/// Of one store, over all of its connections.
#[derive(Default)]
pub(crate) struct Counters {
    statements: AtomicU64,
    commits: AtomicU64,
    teller: OnceLock<Teller>,
}

/// What kind of statement ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads, also those that lock what they read.
    Select,
    /// Adds rows.
    Insert,
    /// Changes rows.
    Update,
    /// Removes rows.
    Delete,
    /// Makes a transaction durable.
    Commit,
    /// Everything else.
    Other,
}

impl Operation {
    /// All of them, each at its own number.
    pub const ALL: [Self; 6] = [Self::Select, Self::Insert, Self::Update, Self::Delete, Self::Commit, Self::Other];

    /// By the statement's first word. What begins with `WITH` reads, or is named by what it does only further on.
    pub(crate) fn of(sql: &str) -> Self {
        let sql = sql.trim_start();
        let begins = |word: &str| sql.get(..word.len()).is_some_and(|first| first.eq_ignore_ascii_case(word));
        Self::ALL.into_iter().find(|operation| begins(operation.name())).unwrap_or(Self::Other)
    }

    /// As SQL has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Commit => "COMMIT",
            Self::Other => "OTHER",
        }
    }
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

    /// From now on, told of each statement. The first one stays.
    pub(crate) fn tell(&self, teller: Teller) {
        drop(self.teller.set(teller));
    }

    /// A statement has ended.
    pub(crate) fn ended(&self, operation: Operation, took: Duration, failure: Option<&Error>) {
        if let Some(teller) = self.teller.get() {
            teller(operation, took, failure.map(|error| Class::of(error).as_str()));
        }
    }

    pub(crate) fn read(&self) -> Counts {
        Counts { statements: self.statements.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_its_first_word() {
        for (sql, operation) in [
            ("SELECT 1", Operation::Select),
            ("\n  insert into t values (1)", Operation::Insert),
            ("UPDATE t SET a = 1", Operation::Update),
            ("DELETE FROM t", Operation::Delete),
            ("COMMIT", Operation::Commit),
            ("WITH due AS (SELECT 1) SELECT * FROM due", Operation::Other),
            ("", Operation::Other),
        ] {
            assert_eq!(Operation::of(sql), operation, "{sql}");
        }
        assert!(Operation::ALL.iter().enumerate().all(|(at, operation)| *operation as usize == at));
    }
}
