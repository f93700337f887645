//! Closing a commit, before a saga unwinds.

use saga_engine::participant::ActionKey;

use super::Inventory;
use crate::ports::StoreError;

impl Inventory {
    /// Makes sure that a commit can no longer happen; tells whether it has.
    pub(crate) async fn close_commit(&self, key: ActionKey) -> Result<bool, StoreError> {
        let was_committed = self.store.close_commit(key, self.now()).await?;
        self.metrics.closed(was_committed);
        Ok(was_committed)
    }
}
