//! Stock and reservations in SQL. The only place here that knows SQL; must not know gRPC or configuration.
//!
//! One text for SQLite and PostgreSQL. Every change is a [`Work`]: a piece of code that runs inside a transaction and may be run
//! again from the start, because a transaction may lose against another one, or share its commit with others.
//!
//! **No deadlock:** locks are taken in one order everywhere: the step key's barrier row, then reservations, then items in SKU
//! order. The sweeper takes several reservations at once, but skips those that somebody else holds.

pub mod audit;
mod catalogue;
pub mod checks;
mod close_commit;
mod commit;
mod expire;
mod forget;
mod rebase;
mod release;
mod reservations;
mod reserve;
mod restock;
mod schema;
mod steps;
mod stock;
mod text;
mod writer;

use std::{sync::Arc, time::Duration};

use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant;

pub use catalogue::{ItemPage, PutItem, Seed, Unputtable};
pub use close_commit::CloseCommit;
pub use commit::Commit;
pub use expire::{Expire, Expired};
pub use forget::Forget;
pub use rebase::Rebase;
pub use release::{Release, Released};
pub use reservations::ReservationPage;
pub use reserve::Reserve;
pub use restock::Restock;
pub use schema::SCHEMA;
pub use steps::{Answer, InvalidFingerprint, Refusal, StepKey};

use writer::Writer;

/// A store call failed; several callers may have shared the transaction that did.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Arc<SqlError>);

impl StoreError {
    /// What happened.
    pub fn cause(&self) -> &SqlError {
        &self.0
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        Self(Arc::new(error))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        SqlError::from(error).into()
    }
}

/// One change, as it runs inside a transaction. Running it again after a rollback must be harmless, and so must running it again
/// after a commit whose answer was lost.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// What the caller hears once the transaction has committed.
    type Output: Send + 'static;

    /// Reads, decides, writes. An error rolls everything back; a refusal is an output, and is committed.
    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError>;
}

/// The stock and reservations of one inventory.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    writer: Writer,
}

impl Store {
    /// Over a database whose [`SCHEMA`] is up to date, or will be before the first call. Must run within a tokio runtime.
    pub fn new(database: Database) -> Self {
        Self { writer: Writer::new(&database), database }
    }

    /// Brings the schema up to date, waiting up to `patience` for a database that is still starting.
    ///
    /// # Errors
    /// When the database stays away or a statement fails.
    pub async fn migrate(&self, patience: Duration) -> Result<(), StoreError> {
        self.database.migrate_when_up(&SCHEMA, patience).await?;
        self.database.migrate_when_up(&participant::SCHEMA, patience).await?;
        Ok(())
    }

    /// Does `work` and commits it.
    ///
    /// # Errors
    /// When the database cannot; whether it committed is then unknown, unless the error says the statement was refused.
    pub async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        self.writer.run(&self.database, work).await
    }

    /// Whether the database answers and can be written.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.ready().await?)
    }
}
