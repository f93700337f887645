//! Why a write was not made: the batch's failure, or its own.

use amends_sql::SqlError;

use crate::store::StoreError;

/// Why a write was not made.
pub(super) enum Failed {
    /// Waiting may mend it, and then it is not this write's alone.
    Database(SqlError),
    /// It cannot be made.
    Write(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Write(error)
    }
}
