//! The journal in SQL: one text for SQLite and PostgreSQL, and a writer that puts concurrent sagas' entries into one commit.

mod append;
pub mod audit;
mod job;
mod ownership;
mod queries;
mod retention;
mod rows;
mod schema;
mod start;
mod writer;

use std::{sync::Arc, time::Duration};

use amends_primitives::{SagaId, Timestamp};
use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{
    Append, Appended, Claimed, DefinitionId, Filter, Heartbeat, Journal, JournalError, NewRow, OperatorRequest, Page,
    ReplicaId, Requested, SagaRow, Stats, Stored,
};
use crate::{LocalOutcome, NoLocal, Snapshot};
use writer::Writer;

#[cfg(test)]
pub(crate) use retention::oldest;
pub use schema::SCHEMA;
pub use writer::WriterMetrics;

/// Applies the host's changes inside the journal's transaction.
#[async_trait]
pub trait ApplyLocal: Send + Sync + 'static {
    /// What changes: usually one enum for all sagas of an engine.
    type Local: Send + Sync + 'static;

    /// Applies a change, or refuses it (nothing of it is kept then). May be called again for the same change when a transaction has to
    /// be repeated, never after one has committed. No network, no waiting: other sagas share the transaction.
    ///
    /// # Errors
    /// When the database fails; the entry is tried again.
    async fn apply_in_tx(&self, tx: &mut Tx, local: &Self::Local, now: Timestamp) -> Result<LocalOutcome, SqlError>;
}

/// For hosts without changes of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingLocal;

#[async_trait]
impl ApplyLocal for NothingLocal {
    type Local = NoLocal;

    async fn apply_in_tx(&self, _tx: &mut Tx, local: &NoLocal, _now: Timestamp) -> Result<LocalOutcome, SqlError> {
        match *local {}
    }
}

/// The journal in SQL.
pub struct SqlJournal<A: ApplyLocal> {
    database: Database,
    ownership: Database,
    writer: Writer<A::Local>,
    metrics: WriterMetrics,
}

impl<A: ApplyLocal> SqlJournal<A> {
    /// A journal in a database whose schema [`SCHEMA`] has been brought up to date. Starts the writing tasks in the current runtime.
    pub fn new(database: Database, apply: A) -> Self {
        let metrics = WriterMetrics::default();
        let writer = Writer::spawn(&database, &Arc::new(apply), &metrics);
        Self { ownership: database.clone(), database, writer, metrics }
    }

    /// Sends heartbeats and claims over connections of their own, to the same database: under overload a replica that waits for a
    /// connection must not be taken for dead. One or two connections are enough; an embedded database needs none.
    #[must_use]
    pub fn with_ownership_on(self, ownership: Database) -> Self {
        Self { ownership, ..self }
    }

    /// What the writer counts; register it with the process's registry.
    pub const fn metrics(&self) -> &WriterMetrics {
        &self.metrics
    }

    /// The database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Runs the caller's work in a transaction that it shares with other callers' and with the journal's own entries, so that many
    /// concurrent starts cost one commit. The work is atomic on its own: its error rolls back only it. Like a local change it must
    /// neither call out nor wait.
    ///
    /// `lock` names what the work locks first, such as a unique key that it inserts. The works of a transaction run in the order of these
    /// names, at every replica: in any other, two replicas that are asked for the same keys at the same time could wait for each other.
    ///
    /// # Errors
    /// The work's own error, or the database's: then the work may or may not have been committed.
    pub async fn transact<T, E, F>(&self, lock: String, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
        F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send + 'static,
    {
        self.writer.work(lock, work).await
    }
}

#[async_trait]
impl<A: ApplyLocal> Journal for SqlJournal<A> {
    type Local = A::Local;
    type Tx = Tx;

    async fn start_in_tx(&self, tx: &mut Tx, saga: &NewRow) -> Result<(), JournalError> {
        start::one(tx, saga).await?
    }

    async fn start(&self, saga: &NewRow) -> Result<(), JournalError> {
        self.writer.start(saga.clone()).await
    }

    async fn append(&self, entry: Arc<Append<A::Local>>) -> Result<Appended, JournalError> {
        self.writer.append(entry).await
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, JournalError> {
        self.database.bounded(queries::load(&self.database, id)).await
    }

    async fn row(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        self.database.bounded(queries::row(&self.database, id)).await
    }

    async fn snapshots(&self, ids: &[SagaId]) -> Result<Vec<Snapshot>, JournalError> {
        self.database.bounded(queries::snapshots(&self.database, ids)).await
    }

    async fn heartbeat(
        &self,
        replica: &ReplicaId,
        lease: Duration,
        known: &[DefinitionId],
    ) -> Result<Heartbeat, JournalError> {
        self.ownership.bounded(ownership::heartbeat(&self.ownership, replica, lease, known)).await
    }

    async fn claim(
        &self,
        replica: &ReplicaId,
        known: &[DefinitionId],
        limit: u32,
        believed: Timestamp,
        now: Timestamp,
    ) -> Result<Claimed, JournalError> {
        self.ownership.bounded(ownership::claim(&self.ownership, replica, known, limit, believed, now)).await
    }

    fn is_exclusive(&self) -> bool {
        self.database.dialect() == Dialect::Sqlite
    }

    async fn evict_others(&self, replica: &ReplicaId) -> Result<(), JournalError> {
        self.ownership.bounded(ownership::evict_others(&self.ownership, replica)).await
    }

    async fn owned(&self, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError> {
        self.ownership.bounded(ownership::owned(&self.ownership, replica)).await
    }

    async fn retire(&self, replica: &ReplicaId, now: Timestamp) -> Result<u64, JournalError> {
        self.ownership.bounded(ownership::retire(&self.ownership, replica, now)).await
    }

    async fn request(&self, id: SagaId, request: &OperatorRequest) -> Result<Requested, JournalError> {
        self.database.bounded(queries::request(&self.database, id, request)).await
    }

    async fn requests(&self, replica: &ReplicaId) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError> {
        self.ownership.bounded(ownership::requests(&self.ownership, replica)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        self.database.bounded(queries::list(&self.database, filter)).await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, JournalError> {
        self.database.bounded(queries::stats(&self.database, now)).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, JournalError> {
        self.database.bounded(retention::purge(&self.database, before, limit)).await
    }
}
