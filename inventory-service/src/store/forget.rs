//! Forgetting step keys that no saga uses any more, a batch at a time.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant::Barrier;

use super::{Work, steps::sql_error};

pub(super) struct Forget {
    pub(super) before: Timestamp,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for Forget {
    type Output = u64;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<u64, SqlError> {
        Barrier::new(dialect).purge(tx, self.before, self.limit).await.map_err(sql_error)
    }
}
