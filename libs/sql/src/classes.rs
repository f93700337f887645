//! What the codes of SQLite and PostgreSQL mean to us: whose failure it is, whether the connection is still good, and whether the
//! store itself has failed.
//!
//! Must not know: what the statements were for.

use sqlx::{
    Error,
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
    sqlite::SqliteError,
};

use crate::sqlite::DriverError;

/// The variants of [`SqlError`](crate::SqlError) that come from a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Unavailable,
    Contended,
    Damaged,
    Unique,
    Check,
    Bug,
}

// SQLite's primary result codes. What the driver reports is extended, and the primary code is in its low byte.
pub(crate) const PERM: u32 = 3;
const ABORT: u32 = 4;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NOMEM: u32 = 7;
pub(crate) const READONLY: u32 = 8;
pub(crate) const INTERRUPT: u32 = 9;
const IOERR: u32 = 10;
pub(crate) const CORRUPT: u32 = 11;
const FULL: u32 = 13;
pub(crate) const CANTOPEN: u32 = 14;
const PROTOCOL: u32 = 15;
const SCHEMA: u32 = 17;
const NOLFS: u32 = 22;
pub(crate) const AUTH: u32 = 23;
pub(crate) const NOTADB: u32 = 26;

// Extended codes that mean something else than their primary one.
const ERROR_RETRY: u32 = 1 | (2 << 8);
const ERROR_SNAPSHOT: u32 = 1 | (3 << 8);
/// A page whose checksum is wrong.
const IOERR_DATA: u32 = IOERR | (32 << 8);
/// The file system says that it is damaged.
const IOERR_CORRUPTFS: u32 = IOERR | (33 << 8);
/// An explicit row id that is taken; the driver does not count it among the unique violations.
const CONSTRAINT_ROWID: u32 = CONSTRAINT | (10 << 8);
const CONSTRAINT: u32 = 19;

/// A code with the database it is from.
enum Code<'a> {
    Sqlite(u32),
    Postgres(&'a PgDatabaseError),
    Unknown,
}

impl<'a> Code<'a> {
    fn of(error: &'a dyn DatabaseError) -> Self {
        if let Some(error) = error.try_downcast_ref::<DriverError>() {
            return u32::try_from(error.code).map_or(Self::Unknown, Self::Sqlite);
        }
        // Of the few statements that sqlx runs: migrations, and looking at a file.
        if error.try_downcast_ref::<SqliteError>().is_some() {
            return error.code().and_then(|code| code.parse().ok()).map_or(Self::Unknown, Self::Sqlite);
        }
        error.try_downcast_ref::<PgDatabaseError>().map_or(Self::Unknown, Self::Postgres)
    }
}

impl Class {
    /// For labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Contended => "contended",
            Self::Damaged => "damaged",
            Self::Unique => "unique",
            Self::Check => "check",
            Self::Bug => "bug",
        }
    }

    pub(crate) fn of(error: &Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                Error::Io(_)
                | Error::Tls(_)
                | Error::PoolTimedOut
                | Error::PoolClosed
                | Error::WorkerCrashed
                | Error::BeginFailed
                | Error::InvalidSavePointStatement
                | Error::Protocol(_) => Self::Unavailable,
                _ => Self::Bug,
            };
        };
        if database.is_unique_violation() {
            return Self::Unique;
        }
        if database.is_check_violation() {
            return Self::Check;
        }
        match Code::of(database) {
            Code::Sqlite(code) => of_sqlite(code),
            Code::Postgres(error) => of_postgres(error),
            Code::Unknown => Self::Bug,
        }
    }
}

const fn of_sqlite(extended: u32) -> Class {
    match extended {
        ERROR_RETRY | ERROR_SNAPSHOT => return Class::Contended,
        IOERR_DATA | IOERR_CORRUPTFS => return Class::Damaged,
        CONSTRAINT_ROWID => return Class::Unique,
        _ => {}
    }
    match extended & 0xff {
        BUSY | LOCKED | SCHEMA => Class::Contended,
        PERM | ABORT | NOMEM | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN | PROTOCOL | NOLFS | AUTH => {
            Class::Unavailable
        }
        CORRUPT | NOTADB => Class::Damaged,
        _ => Class::Bug,
    }
}

fn of_postgres(error: &PgDatabaseError) -> Class {
    match error.code() {
        // serialization_failure, deadlock_detected, lock_not_available, snapshot_too_old; and a prepared statement that the server
        // does not have any more, or whose result has another shape since a migration: prepared anew, it runs.
        "40001" | "40P01" | "55P03" | "72000" | "26000" => Class::Contended,
        "0A000" if is_stale_plan(error) => Class::Contended,
        // data_corrupted, index_corrupted.
        "XX001" | "XX002" => Class::Damaged,
        // read_only_sql_transaction (a failover in progress), idle_in_transaction_session_timeout, transaction_timeout,
        // statement_completion_unknown, insufficient_privilege, invalid_catalog_name (the database is not there), internal_error (the
        // server's own, such as a page that could not be read).
        "25006" | "25P03" | "25P04" | "40003" | "42501" | "3D000" | "XX000" => Class::Unavailable,
        // Classes: connection, authorization (a password that changes), resources (a full disk), intervention (shutdown, cancelled),
        // system error (I/O), configuration file.
        code if ["08", "28", "53", "57", "58", "F0"].iter().any(|class| code.starts_with(class)) => Class::Unavailable,
        _ => Class::Bug,
    }
}

fn is_stale_plan(error: &PgDatabaseError) -> bool {
    error.routine() == Some("RevalidateCachedQuery")
}

/// Whether nothing more may run on the connection that said so. SQLite rolls back by itself on most of these, and what would come after
/// would no longer be in a transaction; and a file that was opened while it was read-only stays read-only for that connection.
pub(crate) fn ends_connection(error: &Error) -> bool {
    let Some(database) = error.as_database_error() else {
        return matches!(
            error,
            Error::Io(_)
                | Error::Tls(_)
                | Error::Protocol(_)
                | Error::WorkerCrashed
                | Error::BeginFailed
                | Error::InvalidSavePointStatement
        );
    };
    match Code::of(database) {
        Code::Sqlite(code) => matches!(of_sqlite(code), Class::Unavailable | Class::Damaged),
        Code::Postgres(error) => {
            matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                || error.code() == "26000"
                || is_stale_plan(error)
        }
        Code::Unknown => false,
    }
}

/// Whether the store itself said that it cannot do its work: neither a cut connection, nor a statement that took too long.
pub(crate) fn is_store_failure(error: &Error) -> bool {
    match error.as_database_error().map(Code::of) {
        Some(Code::Sqlite(code)) => {
            let passing = matches!(code & 0xff, ABORT | INTERRUPT);
            of_sqlite(code) == Class::Unavailable && !passing
        }
        Some(Code::Postgres(error)) => {
            let code = error.code();
            matches!(code, "25006" | "42501") || ["53", "58"].iter().any(|class| code.starts_with(class))
        }
        Some(Code::Unknown) | None => false,
    }
}

/// SQLite's primary result code, if the error is one of SQLite's.
pub(crate) fn sqlite_primary(error: &Error) -> Option<u32> {
    match error.as_database_error().map(Code::of) {
        Some(Code::Sqlite(code)) => Some(code & 0xff),
        _ => None,
    }
}

/// What a start can still wait for: a server that is starting, not one that refuses this program.
pub(crate) fn may_pass_by_itself(error: &Error) -> bool {
    match error.as_database_error().map(Code::of) {
        Some(Code::Postgres(error)) => {
            !(error.code().starts_with("28") || matches!(error.code(), "3D000" | "42501" | "25006"))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_codes_are_classed_by_their_low_byte() {
        for code in [3, 7, 8, 9, 10, 13, 14, 15, 22, 23] {
            for extended in [code, code | (1 << 8), code | (13 << 8), code | (30 << 8)] {
                assert_eq!(of_sqlite(extended), Class::Unavailable, "{extended}");
            }
        }
        // As they come: IOERR_WRITE, IOERR_FSYNC, IOERR_ACCESS, IOERR_SHMOPEN, READONLY_CANTLOCK, READONLY_DBMOVED,
        // CANTOPEN_ISDIR, ABORT_ROLLBACK.
        for code in [778, 1034, 3338, 4618, 520, 1032, 526, 516] {
            assert_eq!(of_sqlite(code), Class::Unavailable, "{code}");
        }
        // BUSY and LOCKED with their extensions, a schema that changed, and what SQLite asks to try again.
        for code in [5, 261, 517, 773, 6, 262, 518, 17, 513, 769] {
            assert_eq!(of_sqlite(code), Class::Contended, "{code}");
        }
        // CORRUPT with its extensions, NOTADB, a wrong checksum, a damaged file system.
        for code in [11, 267, 523, 779, 26, 8202, 8458] {
            assert_eq!(of_sqlite(code), Class::Damaged, "{code}");
        }
        for code in [1, 2, 12, 18, 19, 1299, 20, 21, 25] {
            assert_eq!(of_sqlite(code), Class::Bug, "{code}");
        }
        assert_eq!(of_sqlite(2579), Class::Unique);
    }
}
