//! What has to be done now and then: rotate keys, share what could not be shared, forget what no longer matters.

use std::time::Duration;

use amends_primitives::Timestamp;

use super::{Core, Failure, tokens::session_over_at};
use crate::{
    config::{ACCESS_LIFE_MAX, VERIFIER_LEEWAY_MAX},
    ports::Sharing,
};

/// Revocations moved in one go: some 100 KiB.
const PAGE: u32 = 1000;
/// Rows of each kind deleted by one statement, so that none holds the writer for long.
const PURGE_ROWS: u32 = 500;
/// Statements in a row: with the ones above more than any realistic rate, and still bounded.
const PURGE_ROUNDS: u32 = 20;
/// Pages of what another release left to revoke, in a row: a session of it may have hundreds of thousands of tokens, and they must not
/// hold up the rest of the maintenance.
const CATCH_UP_ROUNDS: u32 = 20;
/// Clocks are slewed by less between two rounds. Redis forgets a revocation after a duration, verifiers a token at a time of
/// day; a clock that was set back makes the two differ.
const STEP_MIN: Duration = Duration::from_secs(1);

impl Core {
    /// One round. Each part is tried even when another fails.
    pub(crate) async fn maintain(&self) {
        let now = self.now();
        if let Err(error) = self.keys.refresh(self.store.as_ref(), &self.keyring, now).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "signing keys could not be refreshed");
        }
        if let Some(at) = self.keys.signs_since(now) {
            self.metrics.signs_since(at);
        }
        if let Err(error) = self.catch_up().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "revocations of another release could not be completed"
            );
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
        let now = self.steady.lock().now(now, self.clock.moment());
        self.known.forget(now);
        self.singles.forget(self.clock.moment());
    }

    /// Learns what other replicas revoked.
    pub(crate) async fn learn_revocations(&self) -> Result<(), Failure> {
        let now = self.now();
        let mut after = None;
        loop {
            let page = self.store.revocations(now, after.as_deref(), PAGE).await?;
            self.known.add(&page);
            match page.into_iter().next_back() {
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    /// What a release left whose tokens name no session: see [`Store::catch_up`](crate::ports::Store::catch_up).
    pub(crate) async fn catch_up(&self) -> Result<(), Failure> {
        let now = self.now();
        let since = now - ACCESS_LIFE_MAX - VERIFIER_LEEWAY_MAX;
        for _ in 0..CATCH_UP_ROUNDS {
            if self.store.catch_up(since, session_over_at(now), now, PAGE).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Shares what is not shared. All of it, where the place was emptied, at the first time, and after the clock was set back.
    pub(crate) async fn share_revocations(&self) -> Result<(), Failure> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let (moment, now) = (self.clock.moment(), self.now());
        let before = *self.shared_at.lock();
        let set_back = before.is_none_or(|(then, at)| now + STEP_MIN < at + moment.since(then));
        let forgotten = sharing.has_forgotten().await?;
        if forgotten || set_back {
            tracing::info!(forgotten, "telling all revocations to the place where they are shared");
            self.share_all(sharing.as_ref(), now).await?;
            sharing.remember().await?;
        }
        loop {
            let waiting = self.store.unshared(now, PAGE).await?;
            if waiting.is_empty() {
                *self.shared_at.lock() = Some((moment, now));
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
                Some(last) => after = Some(last.name),
                None => return Ok(()),
            }
        }
    }

    /// What is deleted is gone when a clock that was ahead is right again. So a step forward is believed late here.
    async fn purge(&self) -> Result<(), Failure> {
        let now = self.steady.lock().now(self.now(), self.clock.moment());
        let forget_failures_before = now - self.settings.throttle.forget_after;
        for _ in 0..PURGE_ROUNDS {
            if self.store.purge(now, forget_failures_before, PURGE_ROWS).await? < u64::from(PURGE_ROWS) {
                break;
            }
        }
        Ok(())
    }
}
