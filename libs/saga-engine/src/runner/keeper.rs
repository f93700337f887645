//! Keeps this replica's lease, finds sagas that no replica runs, and tidies up. When idle it asks the database less than once a second.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Core, store_clock::StoreClock};
use crate::{
    Status,
    journal::{Heartbeat, Journal, JournalError},
    metrics::{SagaLabels, SettledLabels},
};

/// An embedded store has one user, so no other replica waits for this lease to end: heartbeats may be rare.
const EXCLUSIVE_FACTOR: u32 = 4;
/// A caller's commit may take this long after its start was dropped.
const SWEEP_DELAY: Duration = Duration::from_secs(1);
/// Deleting more at once would hold the writer for longer than a customer likes.
const PURGE_BATCH: u32 = 200;
/// So deleting takes a part of the writer's time only, and still keeps up with ten thousand sagas a second.
const PURGE_PAUSE: Duration = Duration::from_millis(20);
/// A replica that is late with its heartbeat gets this much more before it is taken for gone.
const GRACE: Duration = Duration::from_millis(10);

impl<J: Journal> Core<J> {
    /// Runs until it is cancelled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let exclusive = self.journal.is_exclusive();
        let beat = if exclusive { self.config.heartbeat * EXCLUSIVE_FACTOR } else { self.config.heartbeat };
        let (mut first, mut failures, mut next_sweep) = (true, 0_u32, Instant::now() + self.config.sweep);
        let mut store_clock = StoreClock::default();
        loop {
            let sent = Instant::now();
            let wait = match self.beat(first, exclusive, sent, &mut store_clock).await {
                Ok(heartbeat) => {
                    if failures > 0 {
                        tracing::info!(failures, "the journal is back");
                    }
                    (first, failures) = (false, 0);
                    let others = heartbeat.next_expiry.map_or(beat, |expiry| expiry + GRACE);
                    beat.min(others)
                }
                Err(error) => {
                    self.metrics.journal_errors.inc();
                    if failures == 0 {
                        let source = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, source, "the journal does not answer heartbeats");
                    }
                    failures += 1;
                    self.config
                        .journal_retry_first
                        .saturating_mul(1 << failures.min(16))
                        .min(self.config.journal_retry_cap)
                }
            };
            if failures == 0 && next_sweep <= Instant::now() {
                next_sweep = Instant::now() + self.config.sweep;
                self.sweep().await;
            }
            tokio::select! {
                () = tokio::time::sleep_until(sent + wait) => {}
                () = self.sweep.notified() => {
                    next_sweep = next_sweep.min(Instant::now() + SWEEP_DELAY);
                    tokio::time::sleep_until((sent + wait).min(next_sweep)).await;
                }
            }
        }
    }

    async fn beat(
        self: &Arc<Self>,
        first: bool,
        exclusive: bool,
        sent: Instant,
        store_clock: &mut StoreClock,
    ) -> Result<Heartbeat, JournalError> {
        let (journal, lease) = (&self.journal, self.config.lease);
        let lease = if exclusive { lease * EXCLUSIVE_FACTOR } else { lease };
        let mut heartbeat = journal.heartbeat(&self.replica, lease, &self.known).await?;
        store_clock.observe(Instant::now(), heartbeat.store_now, lease);
        if first && exclusive {
            journal.evict_others(&self.replica).await?;
            heartbeat.claimable = true;
        }
        if !first && (heartbeat.lapsed || self.lease.has_lapsed()) {
            self.metrics.leases_lost.inc();
            tracing::warn!("this replica's lease had run out");
            // Before anything acts again: what others took meanwhile is theirs.
            self.reconcile().await?;
        }
        self.lease.renew(sent, lease);
        if heartbeat.requests {
            for (id, request) in journal.requests(&self.replica).await? {
                if let Some(active) = self.active(id) {
                    active.request(request);
                }
            }
        }
        if heartbeat.claimable && !self.closing.is_cancelled() {
            // A claim that failed may have been made all the same, and then no replica runs what it took.
            self.claim(store_clock).await.inspect_err(|_| self.sweep.notify_one())?;
        }
        Ok(heartbeat)
    }

    async fn claim(self: &Arc<Self>, store_clock: &StoreClock) -> Result<(), JournalError> {
        loop {
            let free = u32::try_from(self.seats.available_permits()).unwrap_or(u32::MAX);
            let limit = self.config.claim_max.min(free);
            if limit == 0 {
                return Ok(());
            }
            let believed = store_clock.believed(Instant::now());
            let claimed = self.journal.claim(&self.replica, &self.known, limit, believed, self.now()).await?;
            let (count, readable) = (claimed.sagas.len() + claimed.unreadable.len(), claimed.sagas.len());
            for (id, error) in claimed.unreadable {
                self.metrics.unreadable.inc();
                tracing::error!(saga.id = %id, %error, "a saga's journal cannot be read");
            }
            for stored in claimed.sagas {
                self.metrics.claimed.inc();
                self.resume(stored);
            }
            if count > 0 {
                tracing::info!(count, "sagas taken over");
            }
            // Parked sagas that cannot be read are found again by every claim.
            if readable == 0 || count < usize::try_from(limit).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    fn resume(self: &Arc<Self>, stored: crate::journal::Stored) {
        // No seat, no saga: it stays owned, and the next sweep finds it.
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else { return };
        let id = stored.row.id;
        if let Err(error) = self.run_stored(stored, seat) {
            self.metrics.unreadable.inc();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(saga.id = %id, %error, source, "a saga cannot be resumed");
        }
    }

    /// Compares what this replica owns with what it has in memory: starts what is missing, drops what others have.
    pub(crate) async fn reconcile(self: &Arc<Self>) -> Result<(), JournalError> {
        let in_memory: Vec<_> = self.active.lock().iter().map(|(id, active)| (*id, Arc::clone(active))).collect();
        let starting: HashSet<_> = self.starting.lock().clone();
        let owned = self.journal.owned(&self.replica).await?;
        let owned_set: HashSet<_> = owned.iter().copied().collect();
        for (id, active) in in_memory {
            if !owned_set.contains(&id) {
                active.lost.cancel();
            }
        }
        for id in owned {
            if self.is_active(id) || starting.contains(&id) || self.closing.is_cancelled() {
                continue;
            }
            match self.journal.load(id).await {
                Ok(Some(stored)) if stored.row.owner.as_ref() == Some(&self.replica) && !self.is_active(id) => {
                    tracing::warn!(saga.id = %id, "an owned saga was not in memory");
                    self.resume(stored);
                }
                Ok(_) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    self.metrics.unreadable.inc();
                    tracing::error!(saga.id = %id, %error, "a saga's journal cannot be read");
                }
            }
        }
        Ok(())
    }

    async fn sweep(self: &Arc<Self>) {
        let swept = async {
            self.reconcile().await?;
            let stats = self.journal.stats(self.now()).await?;
            for (_, definition) in &self.definitions {
                let saga = definition.shape().name;
                let parked =
                    stats.counts.iter().filter(|row| row.definition.name == saga && row.status == Status::Parked);
                let parked: u64 = parked.map(|row| row.count).sum();
                self.metrics.parked.get_or_create(&SagaLabels { saga }).set(i64::try_from(parked).unwrap_or(i64::MAX));
                for status in [Status::Running, Status::Unwinding] {
                    let rows = stats.counts.iter().filter(|row| row.definition.name == saga && row.status == status);
                    let oldest = rows.map(|row| row.oldest).max().unwrap_or_default();
                    let labels = SettledLabels { saga, status: status.as_str() };
                    let seconds = i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX);
                    self.metrics.oldest_seconds.get_or_create(&labels).set(seconds);
                }
            }
            let unknown = stats.counts.iter().filter(|row| !self.known.contains(&row.definition));
            let unknown: u64 = unknown.map(|row| row.count).sum();
            self.metrics.unknown_definitions.set(i64::try_from(unknown).unwrap_or(i64::MAX));
            if unknown > 0 {
                tracing::warn!(unknown, "sagas of unknown definitions are left alone");
            }
            Ok::<_, JournalError>(())
        };
        if let Err(error) = swept.await {
            self.metrics.journal_errors.inc();
            tracing::warn!(%error, "the sweep failed; it is tried again");
        }
    }

    /// Deletes sagas that finished long ago. Not part of [`keep`](Self::keep): however much there is to delete, no heartbeat is late.
    pub(crate) async fn purge(self: Arc<Self>) {
        let Some(retention) = self.config.retention else { return };
        loop {
            tokio::time::sleep(self.config.sweep).await;
            loop {
                match self.journal.purge(self.now() - retention, PURGE_BATCH).await {
                    Ok(purged) => {
                        self.metrics.purged.inc_by(purged);
                        if purged < u64::from(PURGE_BATCH) {
                            break;
                        }
                    }
                    Err(error) => {
                        self.metrics.journal_errors.inc();
                        tracing::warn!(%error, "old sagas could not be deleted; it is tried again");
                        break;
                    }
                }
                // Between the batches customers have the writer.
                tokio::time::sleep(PURGE_PAUSE).await;
            }
        }
    }
}
