//! The driver's errors, in the classes that callers treat differently.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

const DUPLICATE_KEY: i32 = 11000;
/// Authentication, authorization, an unknown command or option: a retry does not help.
const MISCONFIGURED: [i32; 6] = [8000, 13, 18, 59, 72, 115];
/// The server's own trouble (an internal or unknown error, no room on the disk, no memory, too few members for a majority), interrupted,
/// overloaded, stepping down or shutting down, a snapshot, a lock or a majority not had in time.
const UNAVAILABLE: [i32; 37] = [
    1, 6, 7, 8, 24, 39, 43, 46, 50, 63, 64, 74, 89, 91, 100, 112, 133, 134, 146, 175, 189, 202, 237, 246, 262, 279,
    317, 365, 9001, 10058, 10107, 11600, 11601, 11602, 13435, 13436, 14031,
];

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
