//! Waiting for a saga without polling: in this process through a channel, for other replicas' sagas through one shared watcher.

use std::time::Duration;

use amends_primitives::SagaId;
use tokio::sync::watch;

use crate::Snapshot;

/// Waits for one saga. Cheap to clone; dropping it does not stop the saga.
#[derive(Debug, Clone)]
pub struct Handle {
    id: SagaId,
    snapshots: watch::Receiver<Option<Snapshot>>,
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Waited {
    /// What was waited for has come. After [`settled`](Handle::settled) the saga is completed, unwound, or parked.
    Settled(Snapshot),
    /// Time is up and the saga goes on. Holds its last durable state, unless none was seen yet.
    Running(Option<Snapshot>),
}

impl Handle {
    pub(crate) const fn new(id: SagaId, snapshots: watch::Receiver<Option<Snapshot>>) -> Self {
        Self { id, snapshots }
    }

    /// The saga.
    pub const fn id(&self) -> SagaId {
        self.id
    }

    /// The last durable state seen.
    pub fn latest(&self) -> Option<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Waits until the saga has settled, at most for `patience`.
    pub async fn settled(&self, patience: Duration) -> Waited {
        self.wait_until(patience, Snapshot::is_settled).await
    }

    /// Waits until the saga has settled or has decided to unwind, at most for `patience`. From then on a failure is known, though in
    /// rare cases not final: closing the pivot may find that it was done, and then the saga goes forward after all.
    pub async fn decided(&self, patience: Duration) -> Waited {
        self.wait_until(patience, |snapshot| snapshot.is_settled() || snapshot.failure.is_some()).await
    }

    async fn wait_until(&self, patience: Duration, wanted: impl Fn(&Snapshot) -> bool) -> Waited {
        let mut snapshots = self.snapshots.clone();
        let wait = snapshots.wait_for(|snapshot| snapshot.as_ref().is_some_and(&wanted));
        match tokio::time::timeout(patience, wait).await {
            Ok(Ok(snapshot)) if snapshot.is_some() => match snapshot.clone() {
                Some(snapshot) => Waited::Settled(snapshot),
                None => Waited::Running(None),
            },
            _ => Waited::Running(self.latest()),
        }
    }
}
