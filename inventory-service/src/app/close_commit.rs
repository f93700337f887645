//! Closing a commit, before a saga unwinds.

use amends_primitives::StepKey;

use super::Inventory;
use crate::ports::StoreError;

impl Inventory {
    /// Makes sure that a commit can no longer happen; tells whether it has.
    pub(crate) async fn close_commit(&self, key: StepKey) -> Result<bool, StoreError> {
        let was_committed = self.store.close_commit(key, self.now()).await?;
        self.metrics.closed(was_committed);
        Ok(was_committed)
    }
}
