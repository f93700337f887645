//! Tells those who wait here for a saga that another replica runs. One query for all of them, and none while no caller waits.

use std::{collections::HashMap, sync::Arc, time::Duration};

use amends_primitives::SagaId;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{Core, Snapshots, publish};
use crate::{Handle, journal::Journal};

/// As many sagas are asked for in one query.
const ASK_MAX: usize = 100;

/// The channels of those who wait.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    waiting: Mutex<HashMap<SagaId, Arc<Snapshots>>>,
    came: Notify,
}

impl Watchers {
    /// Waits for a saga that does not run here.
    pub(crate) fn watch(&self, id: SagaId) -> Handle {
        let mut waiting = self.waiting.lock();
        let snapshots = waiting.entry(id).or_insert_with(|| Arc::new(watch::channel(None).0));
        let handle = Handle::new(id, snapshots.subscribe());
        drop(waiting);
        self.came.notify_one();
        handle
    }

    /// Goes on for those who waited for a saga that ran here.
    pub(super) fn adopt(&self, id: SagaId, snapshots: Arc<Snapshots>) {
        self.waiting.lock().insert(id, snapshots);
        self.came.notify_one();
    }

    /// The saga runs here now.
    pub(super) fn take(&self, id: SagaId) -> Option<Arc<Snapshots>> {
        self.waiting.lock().remove(&id)
    }

    fn wanted(&self) -> Vec<SagaId> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, snapshots| snapshots.receiver_count() > 0);
        waiting.keys().copied().collect()
    }
}

impl<J: Journal> Core<J> {
    /// Runs until it is cancelled.
    pub(crate) async fn watch_others(&self) {
        let mut pause = Duration::ZERO;
        loop {
            let wanted = self.watchers.wanted();
            if wanted.is_empty() {
                self.watchers.came.notified().await;
                // The first look is immediate: the saga may have settled long ago.
                pause = Duration::ZERO;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = self.config.watch;
            for ids in wanted.chunks(ASK_MAX) {
                match self.journal.snapshots(ids).await {
                    Ok(found) => {
                        for snapshot in found {
                            let mut waiting = self.watchers.waiting.lock();
                            let Some(snapshots) = waiting.get(&snapshot.id).map(Arc::clone) else { continue };
                            if snapshot.is_settled() {
                                waiting.remove(&snapshot.id);
                            }
                            drop(waiting);
                            publish(&snapshots, snapshot);
                        }
                    }
                    Err(error) => {
                        self.metrics.journal_errors.inc();
                        tracing::debug!(%error, "sagas of other replicas could not be watched");
                        pause = self.config.journal_retry_cap;
                    }
                }
            }
        }
    }
}
