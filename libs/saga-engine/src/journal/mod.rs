//! What the engine asks of a store. Crash recovery relies on exactly what is written here.
//!
//! 1. *Start* happens in the caller's transaction: the saga exists if and only if what it is about exists.
//! 2. *Append* is refused ([`Appended::Fenced`]) unless the saga is at the expected sequence number and still owned under the same
//!    fence. Repeating an append that was written is recognised and succeeds, since a commit's answer can get lost.
//! 3. An append's local change commits with it, or neither does.
//! 4. *Claim* gives a saga whose owner is gone to one replica only, and raises its fence.
//! 5. *Leases* are by the store's own clock, one for all replicas, whose clocks may differ. If it was set back, a lease that lies further
//!    ahead than a lease is long is cut to that; if it was set forward, the claiming replica says what time it believes it is.
//!
//! Must not know: what events mean (they are opaque records here), definitions, steps.

mod listing;
pub mod sql;

use std::{sync::Arc, time::Duration};

use amends_primitives::{SagaId, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Cause, Failure, Refusal, Snapshot, Status, TraceContext, event::Record};

pub use crate::operator::{Operator, OperatorRequest, Requested, Resolution, Wish};
pub use listing::{Filter, PAGE_DEFAULT, PAGE_MAX, Page, Stats, StatsRow};

/// A store of sagas.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Changes to the host's own tables.
    type Local: Send + Sync + 'static;
    /// The caller's open transaction.
    type Tx: Send;

    /// Stores a new saga in the caller's transaction.
    ///
    /// # Errors
    /// When the store fails, or has a saga of that id.
    async fn start_in_tx(&self, tx: &mut Self::Tx, saga: &NewRow) -> Result<(), JournalError>;

    /// Stores a new saga in a transaction of its own.
    ///
    /// # Errors
    /// When the store fails, or has a saga of that id. A call cut short may or may not have stored it.
    async fn start(&self, saga: &NewRow) -> Result<(), JournalError>;

    /// Writes a saga's next entry. A call cut short may or may not have written it, and can be repeated.
    ///
    /// # Errors
    /// When the store fails.
    async fn append(&self, entry: Arc<Append<Self::Local>>) -> Result<Appended, JournalError>;

    /// A saga with its events, if there is one.
    ///
    /// # Errors
    /// When the store fails or holds what this program did not write.
    async fn load(&self, id: SagaId) -> Result<Option<Stored>, JournalError>;

    /// A saga's row, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    async fn row(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError>;

    /// Snapshots of those of `ids` that exist.
    ///
    /// # Errors
    /// When the store fails.
    async fn snapshots(&self, ids: &[SagaId]) -> Result<Vec<Snapshot>, JournalError>;

    /// Says that a replica is alive and will be for `lease`, and asks whether there is something to claim. No other replica's lease lies
    /// further ahead than `lease` afterwards: all replicas of a store have leases of one length.
    ///
    /// # Errors
    /// When the store fails.
    async fn heartbeat(
        &self,
        replica: &ReplicaId,
        lease: Duration,
        known: &[DefinitionId],
    ) -> Result<Heartbeat, JournalError>;

    /// Takes over at most `limit` active sagas whose owner is gone and whose definition is one of `known`. An owner is gone when its
    /// lease has ended both by the store's clock and by `believed`, the latest time that it may be by that clock as far as the replica
    /// has watched it. `now` is the replica's own time, for the rows.
    ///
    /// # Errors
    /// When the store fails.
    async fn claim(
        &self,
        replica: &ReplicaId,
        known: &[DefinitionId],
        limit: u32,
        believed: Timestamp,
        now: Timestamp,
    ) -> Result<Claimed, JournalError>;

    /// Whether only one process at a time uses the store, as with an embedded one. It then need not wait for the leases of its
    /// predecessor, see [`evict_others`](Self::evict_others).
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Forgets all other replicas, so that their sagas can be claimed at once.
    ///
    /// # Errors
    /// When the store fails.
    async fn evict_others(&self, replica: &ReplicaId) -> Result<(), JournalError>;

    /// The active sagas a replica owns. A replica compares them with those it works on.
    ///
    /// # Errors
    /// When the store fails.
    async fn owned(&self, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError>;

    /// Gives up what a replica still owns, and forgets the replica.
    ///
    /// # Errors
    /// When the store fails.
    async fn retire(&self, replica: &ReplicaId, now: Timestamp) -> Result<u64, JournalError>;

    /// Leaves a request of an operator with a saga, for its owner to journal. Only one can be waiting.
    ///
    /// # Errors
    /// When the store fails.
    async fn request(&self, id: SagaId, request: &OperatorRequest) -> Result<Requested, JournalError>;

    /// Active sagas owned by a replica that have a request waiting.
    ///
    /// # Errors
    /// When the store fails.
    async fn requests(&self, replica: &ReplicaId) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError>;

    /// Sagas, newest first.
    ///
    /// # Errors
    /// When the store fails.
    async fn list(&self, filter: &Filter) -> Result<Page, JournalError>;

    /// How many sagas there are that have not finished.
    ///
    /// # Errors
    /// When the store fails.
    async fn stats(&self, now: Timestamp) -> Result<Stats, JournalError>;

    /// Deletes at most `limit` sagas that finished before `before`, with their events; returns how many. Parked ones have not
    /// finished.
    ///
    /// # Errors
    /// When the store fails.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, JournalError>;
}

/// One process that runs sagas. Never reused: a restarted process is another replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(Arc<str>);

impl ReplicaId {
    /// From a text that no other process ever used, such as a UUID.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
}

amends_primitives::as_text!(ReplicaId);

/// A definition as it is stored with its sagas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DefinitionId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// A saga to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRow {
    /// The saga.
    pub id: SagaId,
    /// What kind of saga it is.
    pub definition: DefinitionId,
    /// What it is about, for people and for lookups: an order id.
    pub subject: String,
    /// Its first state, as JSON.
    pub input: String,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// The replica that will run it.
    pub owner: ReplicaId,
    /// Now.
    pub at: Timestamp,
}

/// A saga's row.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaRow {
    /// The saga.
    pub id: SagaId,
    /// What kind of saga it is.
    pub definition: DefinitionId,
    /// What it is about.
    pub subject: String,
    /// Its first state, as JSON.
    pub input: String,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// Where it is.
    pub status: Status,
    /// The step it is at, as far as it is journaled.
    pub step: Option<String>,
    /// Why it does not go through.
    pub failure: Option<Failure>,
    /// Why it is parked, while it is.
    pub parked: Option<Cause>,
    /// How many events its journal holds.
    pub seq: u64,
    /// Raised at each change of owner.
    pub fence: u64,
    /// The replica that runs it, if one does.
    pub owner: Option<ReplicaId>,
    /// When it will go on by itself, if it is waiting.
    pub wake_at: Option<Timestamp>,
    /// What an operator asked for and no replica has journaled yet.
    pub request: Option<OperatorRequest>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its row was last written.
    pub updated_at: Timestamp,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
}

impl SagaRow {
    /// What waiting callers see of it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.id,
            status: self.status,
            failure: self.failure.clone(),
            parked: self.parked.clone(),
            seq: self.seq,
        }
    }
}

/// A saga with its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its row.
    pub row: SagaRow,
    /// Its events, in order.
    pub records: Vec<Record>,
}

/// What a claim took over.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Sagas to go on with.
    pub sagas: Vec<Stored>,
    /// Sagas whose journal cannot be read: they are owned, so that they are reported once and not claimed again and again.
    pub unreadable: Vec<(SagaId, JournalError)>,
}

/// One entry of a saga's journal: some events, what they leave the row at, and the host's change that commits with them.
#[derive(Debug, Clone)]
pub struct Append<L> {
    /// The saga.
    pub saga_id: SagaId,
    /// The sequence number the saga must be at.
    pub expected_seq: u64,
    /// The fence it must be owned under.
    pub fence: u64,
    /// The replica that must own it.
    pub owner: ReplicaId,
    /// The events.
    pub records: Vec<Record>,
    /// Where they leave the saga.
    pub status: Status,
    /// The step they leave it at.
    pub step: Option<String>,
    /// Why it does not go through.
    pub failure: Option<Failure>,
    /// Why it is parked.
    pub parked: Option<Cause>,
    /// When it will go on by itself, if it is waiting.
    pub wake_at: Option<Timestamp>,
    /// Whether the operator's request is journaled with this entry.
    pub clears_request: bool,
    /// Whether the replica gives the saga up with this entry.
    pub releases: bool,
    /// The host's change.
    pub local: Option<L>,
    /// Now.
    pub at: Timestamp,
}

impl<L> Append<L> {
    /// The sequence number the saga is at afterwards.
    pub fn next_seq(&self) -> u64 {
        self.expected_seq + self.records.len() as u64
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is durable. Holds what an operator asked for meanwhile.
    Written(Option<OperatorRequest>),
    /// The host refused the change: nothing was written.
    LocalRefused(Refusal),
    /// The saga was moved or taken over by another replica: nothing was written.
    Fenced,
}

/// What a heartbeat found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The replica had been forgotten: others may have taken its sagas.
    pub lapsed: bool,
    /// There are active sagas without a living owner, or parked ones an operator wants moved.
    pub claimable: bool,
    /// There are requests for sagas this replica owns.
    pub requests: bool,
    /// When the next other replica's lease runs out, from now, unless it says that it is alive.
    pub next_expiry: Option<Duration>,
    /// What the store's clock says.
    pub store_now: Timestamp,
}

/// Why a journal call failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store cannot be reached, cannot do its work or did not answer in time: worth trying later.
    #[error("the journal is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is a saga of that id.
    #[error("the saga {0} exists already")]
    Exists(SagaId),
    /// What is stored is not what this program writes.
    #[error("the journal of saga {saga_id} cannot be read")]
    Corrupt {
        /// The saga.
        saga_id: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A mistake in this program or in the host's change.
    #[error("the journal refused a statement")]
    Bug(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl JournalError {
    /// Whether the same call may succeed later without a change.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
