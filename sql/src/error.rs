//! The classes of database errors that callers treat differently.

/// Why a store call failed. `Display` never holds values from the statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The database cannot be reached, is shutting down, or did not answer in time: worth trying later.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The store call did not end within its bound.
    #[error("the database did not answer in time")]
    TimedOut,
    /// A concurrent transaction won (serialization failure, deadlock, busy): worth trying again at once.
    #[error("a concurrent transaction was in the way")]
    Contended(#[source] sqlx::Error),
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
    /// What is stored is not what this program writes.
    #[error("the stored {what} cannot be read")]
    Corrupt {
        /// The table or field.
        what: &'static str,
    },
    /// A mistake in this program: bad SQL, a wrong type.
    #[error("the statement failed")]
    Bug(#[source] sqlx::Error),
}

impl SqlError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut | Self::Contended(_))
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let Some(database) = error.as_database_error() else {
            return match error {
                E::Io(_)
                | E::Tls(_)
                | E::PoolTimedOut
                | E::PoolClosed
                | E::WorkerCrashed
                | E::BeginFailed
                | E::Protocol(_) => Self::Unavailable(error),
                _ => Self::Bug(error),
            };
        };
        if database.is_unique_violation() {
            return Self::UniqueViolation(error);
        }
        if database.is_check_violation() {
            return Self::CheckViolation(error);
        }
        match database.code().as_deref() {
            // PostgreSQL: serialization_failure, deadlock_detected, lock_not_available. SQLite: BUSY, LOCKED and their extensions.
            Some("40001" | "40P01" | "55P03" | "5" | "6" | "261" | "262" | "517" | "773") => Self::Contended(error),
            // PostgreSQL classes 08 (connection), 53 (resources), 57P0x (shutdown), 58 (I/O), and query_canceled (statement_timeout),
            // read_only_sql_transaction (a failover in progress), idle_in_transaction_session_timeout. SQLite: IOERR, FULL, CANTOPEN.
            Some(code)
                if ["08", "53", "57P0", "58"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                    || matches!(code, "57014" | "25006" | "25P03" | "10" | "13" | "14") =>
            {
                Self::Unavailable(error)
            }
            _ => Self::Bug(error),
        }
    }
}
