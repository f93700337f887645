//! What the suite asks of a kind of store, and what each of its cases is given.

use std::{fmt, sync::Arc, time::Duration};

use amends_primitives::{IdSource as _, SagaId, SeededIds, Timestamp};
use async_trait::async_trait;

use crate::{
    Status, TraceContext,
    event::{Event, Record},
    journal::{
        Append, Appended, DefinitionId, Journal, JournalError, NewRow, Operator, OperatorRequest, ReplicaId, Wish,
    },
};

/// The change of a host that the suite plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Writes this text.
    Note(String),
    /// Writes this text, and then refuses.
    Refuse(String),
    /// Writes this text, and then fails for a permanent reason.
    Fail(String),
}

/// A kind of store.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// Its journal.
    type Journal: Journal<Local = Probe>;

    /// A journal on an empty store.
    async fn fresh(&self) -> Self::Journal;

    /// Starts a saga in a transaction, and commits it or rolls it back.
    async fn start_in_tx(&self, journal: &Self::Journal, saga: &NewRow, commit: bool) -> Result<(), JournalError>;

    /// Moves the store's clock by this number of microseconds: forward, or back below zero. Where the clock is not ours to set, moving
    /// all leases the other way is the same.
    async fn set_clock(&self, journal: &Self::Journal, by_micros: i64);

    /// The texts that [`Probe`]s have written, in order.
    async fn notes(&self, journal: &Self::Journal) -> Vec<String>;
}

pub(super) const LONG: Duration = Duration::from_hours(1);
/// Whatever the store's clock says is believed.
pub(super) const LATEST: Timestamp = Timestamp::from_micros(i64::MAX);

pub(super) struct World<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) journal: B::Journal,
    pub(super) ids: SeededIds,
    pub(super) now: Timestamp,
}

pub(super) fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name)
}

pub(super) fn known() -> Vec<DefinitionId> {
    vec![DefinitionId { name: "probe".into(), version: 1 }, DefinitionId { name: "other".into(), version: 3 }]
}

impl<B: Backend> World<'_, B> {
    pub(super) fn row(&self, owner: &str) -> NewRow {
        NewRow {
            id: SagaId::new(self.ids.next_id()),
            definition: known()[0].clone(),
            subject: "an order".into(),
            input: r#"{"amount":5}"#.into(),
            trace: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            owner: replica(owner),
            at: self.now,
        }
    }

    pub(super) async fn started(&self, owner: &str) -> SagaId {
        let row = self.row(owner);
        self.journal.start(&row).await.expect("start");
        row.id
    }

    /// An entry with one event that leaves the saga running.
    pub(super) fn entry(&self, saga_id: SagaId, owner: &str, expected_seq: u64) -> Append<Probe> {
        let event = Event::StepStarted { step: "probe".into(), attempt: 1 };
        Append {
            saga_id,
            expected_seq,
            fence: 1,
            owner: replica(owner),
            records: vec![Record { at: self.now, event }],
            status: Status::Running,
            step: Some("probe".into()),
            failure: None,
            parked: None,
            wake_at: None,
            clears_request: false,
            releases: false,
            local: None,
            at: self.now,
        }
    }

    pub(super) async fn append(&self, entry: Append<Probe>) -> Result<Appended, JournalError> {
        self.journal.append(Arc::new(entry)).await
    }

    pub(super) async fn written(&self, entry: Append<Probe>) {
        assert_eq!(self.append(entry).await.expect("append"), Appended::Written(None));
    }

    pub(super) async fn alive(&self, name: &str) {
        self.beat(name, LONG).await;
    }

    pub(super) async fn dead(&self, name: &str) {
        self.beat(name, Duration::ZERO).await;
    }

    pub(super) async fn beat(&self, name: &str, lease: Duration) -> crate::journal::Heartbeat {
        self.journal.heartbeat(&replica(name), lease, &known()).await.expect("heartbeat")
    }

    pub(super) async fn claim(&self, name: &str, limit: u32) -> Vec<SagaId> {
        let claimed = self.journal.claim(&replica(name), &known(), limit, LATEST, self.now).await.expect("claim");
        claimed.sagas.into_iter().map(|stored| stored.row.id).collect()
    }

    pub(super) async fn notes(&self) -> Vec<String> {
        self.backend.notes(&self.journal).await
    }
}

pub(super) fn request(wish: Wish, now: Timestamp) -> OperatorRequest {
    OperatorRequest { operator: Operator { who: "ann".into(), why: "because".into() }, wish, at: now }
}
