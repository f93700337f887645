//! Closing a commit's key before a saga unwinds.

use amends_primitives::{StepKey, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant::{Barrier, BeginClose};

use super::{Work, steps};

pub(super) struct CloseCommit {
    pub(super) key: StepKey,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for CloseCommit {
    type Output = bool;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<bool, SqlError> {
        let begun = Barrier::new(dialect).begin_close(tx, &self.key, self.now).await.map_err(steps::sql_error)?;
        Ok(matches!(begun, BeginClose::WasDone(_)))
    }
}
