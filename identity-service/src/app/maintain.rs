//! What has to be done now and then: rotate keys, share what could not be shared, forget what no longer matters.

use amends_primitives::Timestamp;

use super::{Core, Failure};
use crate::ports::Sharing;

/// Revocations moved in one go: some 100 KiB.
const PAGE: u32 = 1000;
/// Rows of each kind deleted by one statement, so that none holds the writer for long.
const PURGE_ROWS: u32 = 500;
/// Statements in a row: with the ones above more than any realistic rate, and still bounded.
const PURGE_ROUNDS: u32 = 20;

impl Core {
    /// One round. Each part is tried even when another fails.
    pub(crate) async fn maintain(&self) {
        let now = self.now();
        if let Err(error) = self.keys.refresh(self.store.as_ref(), &self.keyring, now).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "signing keys could not be refreshed");
        }
        if let Err(error) = self.learn_revocations().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "revocations could not be loaded");
        }
        if let Err(error) = self.share_revocations().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "revocations could not be shared");
        }
        if let Err(error) = self.purge().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old rows could not be deleted");
        }
        self.known.forget(now);
    }

    /// Learns what other replicas revoked.
    pub(crate) async fn learn_revocations(&self) -> Result<(), Failure> {
        let now = self.now();
        let mut after = None;
        loop {
            let page = self.store.revocations(now, after.as_deref(), PAGE).await?;
            self.known.add(&page);
            match page.into_iter().next_back() {
                Some(last) => after = Some(last.jti),
                None => return Ok(()),
            }
        }
    }

    async fn share_revocations(&self) -> Result<(), Failure> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let now = self.now();
        if sharing.has_forgotten().await? {
            tracing::info!("the place where revocations are shared has none: telling it all of them");
            self.share_all(sharing.as_ref(), now).await?;
            sharing.remember().await?;
        }
        loop {
            let waiting = self.store.unshared(now, PAGE).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            sharing.share(&waiting, now).await?;
            self.store.mark_shared(&waiting).await?;
        }
    }

    async fn share_all(&self, sharing: &dyn Sharing, now: Timestamp) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.store.revocations(now, after.as_deref(), PAGE).await?;
            sharing.share(&page, now).await?;
            match page.into_iter().next_back() {
                Some(last) => after = Some(last.jti),
                None => return Ok(()),
            }
        }
    }

    async fn purge(&self) -> Result<(), Failure> {
        let now = self.now();
        let forget_failures_before = now - self.settings.throttle.forget_after;
        for _ in 0..PURGE_ROUNDS {
            if self.store.purge(now, forget_failures_before, PURGE_ROWS).await? < u64::from(PURGE_ROWS) {
                break;
            }
        }
        Ok(())
    }
}
