//! The classes of database errors that callers treat differently.

use std::path::PathBuf;

use crate::{FileFault, classes::Class};

/// Why a store call failed. `Display` never holds values from the statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The database cannot be reached, cannot read or write (a full disk, a read-only file), is shutting down, or did not answer in
    /// time: worth trying later.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The store call did not end within its bound.
    #[error("the database did not answer in time")]
    TimedOut,
    /// A concurrent transaction won (serialization failure, deadlock, busy): worth trying again at once.
    #[error("a concurrent transaction was in the way")]
    Contended(#[source] sqlx::Error),
    /// The database says that what it stores is damaged. A retry does not help, and it is not a defect of this program.
    #[error("the database is damaged")]
    Damaged(#[source] sqlx::Error),
    /// A SQLite file cannot be used as it is.
    #[error(transparent)]
    Unusable(#[from] Box<FileFault>),
    /// A unique index refused the row.
    #[error("the row exists already")]
    UniqueViolation(#[source] sqlx::Error),
    /// A `CHECK` constraint refused the row.
    #[error("a check constraint refused the row")]
    CheckViolation(#[source] sqlx::Error),
    /// A migration failed, or the schema is newer than this binary.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The URL names neither SQLite nor PostgreSQL. The URL is not repeated here: it may hold a password.
    #[error("the database URL must begin with sqlite: or postgres:")]
    UnsupportedUrl,
    /// SQLite's file names are UTF-8, and this one is not.
    #[error("the path {0:?} is not valid UTF-8, as the path of a SQLite file has to be; give the folder another name")]
    UnsupportedPath(PathBuf),
    /// What is stored is not what this program writes.
    #[error("the stored {what} cannot be read")]
    Corrupt {
        /// The table or field.
        what: &'static str,
    },
    /// This program is in a state that it cannot be in: a task stopped, an answer is missing. Nothing that is stored is wrong.
    #[error("unexpected: {what}")]
    Unexpected {
        /// What happened.
        what: &'static str,
    },
    /// A mistake in this program: bad SQL, a wrong type.
    #[error("the statement failed")]
    Bug(#[source] sqlx::Error),
}

impl SqlError {
    /// Whether the same call may succeed later without a change.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut | Self::Contended(_))
    }

    /// Whether the store is at fault, and neither the caller nor this program: what is transient, and a damaged or unusable store. The
    /// answer is "not now" (503, `UNAVAILABLE`), never "a bug".
    pub const fn is_unavailable(&self) -> bool {
        self.is_transient() || matches!(self, Self::Damaged(_) | Self::Unusable(_))
    }
}

impl From<FileFault> for SqlError {
    fn from(fault: FileFault) -> Self {
        Self::Unusable(Box::new(fault))
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        match Class::of(&error) {
            Class::Unavailable => Self::Unavailable(error),
            Class::Contended => Self::Contended(error),
            Class::Damaged => Self::Damaged(error),
            Class::Unique => Self::UniqueViolation(error),
            Class::Check => Self::CheckViolation(error),
            Class::Bug => Self::Bug(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for SqlError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as E;
        match error {
            // The first statements of a run, which are the migrator's own.
            E::Execute(error) => Self::from(error),
            // A mistake in a migration stays one; what the database could not do has its class.
            E::ExecuteMigration(cause, version) => match Class::of(&cause) {
                Class::Unavailable | Class::Contended | Class::Damaged => Self::from(cause),
                Class::Unique | Class::Check | Class::Bug => Self::Migration(E::ExecuteMigration(cause, version)),
            },
            other => Self::Migration(other),
        }
    }
}

/// An error with its causes, from the outermost in, for people: `the database is unavailable: error returned
/// from database: (code: 13) database or disk is full`.
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // The driver's errors say their cause themselves.
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        next = cause.source();
    }
    words
}
