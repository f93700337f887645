//! The journal in SQL: one text for SQLite and PostgreSQL, and a writer that puts concurrent sagas' entries into one commit.

use std::sync::Arc;

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, Tx};
use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::LocalOutcome;

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

/// The journal in SQL.
pub struct SqlJournal<A: ApplyLocal> {
    database: Database,
    apply: Arc<A>,
}

impl<A: ApplyLocal> SqlJournal<A> {
    /// A journal in a database whose schema [`SCHEMA`](crate::SCHEMA) has been brought up to date.
    pub fn new(database: Database, apply: A) -> Self {
        Self { database, apply: Arc::new(apply) }
    }

    /// Runs the caller's work in a transaction that it shares with other callers' and with the journal's own entries, so that many
    /// concurrent starts cost one commit. The work is atomic on its own: its error rolls back only it.
    ///
    /// # Errors
    /// The work's own error, or the database's: then the work may or may not have been committed.
    pub async fn transact<T, E, F>(&self, _work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
        F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send + 'static,
    {
        let _ = (&self.database, &self.apply);
        todo!()
    }
}
