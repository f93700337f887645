//! The books of the simulated acquirer as earlier versions kept them, beside the payments. They are read once, to be taken over into the
//! acquirer's own file, and removed.
//!
//! Must not know: where they are taken over to; drivers.

use acquirer::store::FormerLine;
use async_trait::async_trait;

use super::StoreError;

/// The old books. Every call is bounded in time.
#[async_trait]
pub trait FormerLedger: Send + Sync + 'static {
    /// Lines by key, after `after`; none where there are no old books, or no more.
    async fn former_lines(&self, after: &str, limit: u32) -> Result<Vec<FormerLine>, StoreError>;

    /// Removes the old books, if there are any: only after all of their lines are safe elsewhere.
    async fn forget_former(&self) -> Result<(), StoreError>;
}
