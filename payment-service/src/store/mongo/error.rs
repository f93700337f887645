//! The driver's errors, in the classes that callers treat differently.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

const DUPLICATE_KEY: i32 = 11000;
/// Authentication, authorization, an unknown command or option: nothing that waiting mends.
const MISCONFIGURED: [i32; 6] = [8000, 13, 18, 59, 72, 115];
/// Interrupted, overloaded, stepping down or shutting down, a lock or a majority not had in time.
const UNAVAILABLE: [i32; 18] =
    [6, 7, 24, 50, 63, 64, 89, 91, 112, 134, 189, 202, 262, 9001, 10107, 11600, 11602, 13435];

/// Whether a unique index refused the write.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}

/// Whether an insert of many failed for nothing but documents that are there already.
pub(super) fn is_only_duplicate_keys(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::InsertMany(many) => {
            many.write_concern_error.is_none()
                && many
                    .write_errors
                    .as_ref()
                    .is_some_and(|errors| errors.iter().all(|error| error.code == DUPLICATE_KEY))
        }
        _ => false,
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let retryable =
            error.contains_label("RetryableWriteError") || error.contains_label("TransientTransactionError");
        let unavailable = match &*error.kind {
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Shutdown
            // Not acknowledged by a majority in time: it may yet be, or be rolled back.
            | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
            _ => retryable || code(&error).is_some_and(|code| UNAVAILABLE.contains(&code)),
        };
        match &*error.kind {
            _ if unavailable => Self::Unavailable(Box::new(error)),
            ErrorKind::BsonDeserialization(_) => Self::Corrupt { what: "document" },
            ErrorKind::Authentication { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::InvalidTlsConfig { .. }
            | ErrorKind::IncompatibleServer { .. } => Self::Misconfigured(Box::new(error)),
            _ if code(&error).is_some_and(|code| MISCONFIGURED.contains(&code)) => Self::Misconfigured(Box::new(error)),
            _ => Self::Bug(Box::new(error)),
        }
    }
}
