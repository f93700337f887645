//! What SQLite says, as an error of sqlx's: the extended result code, and its words.

use std::{borrow::Cow, error::Error as StdError, fmt};

use rusqlite::ffi;
use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
};

/// A result code of SQLite's that is not a success.
#[derive(Debug)]
pub(crate) struct DriverError {
    /// Extended: its low byte is the primary code.
    pub(crate) code: i32,
    message: String,
}

impl DriverError {
    /// An error of the driver's, as callers know them.
    pub(crate) fn convert(error: rusqlite::Error) -> Error {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => Self::of(failure, message),
            // What cannot be bound or read; the statement's own mistake.
            error => Error::Decode(Box::new(error)),
        }
    }

    fn of(failure: ffi::Error, message: Option<String>) -> Error {
        let code = failure.extended_code;
        let message = message.unwrap_or_else(|| ffi::code_to_str(code).to_owned());
        Error::Database(Box::new(Self { code, message }))
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl StdError for DriverError {}

impl DatabaseError for DriverError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
