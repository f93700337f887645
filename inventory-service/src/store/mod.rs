//! Stock and reservations in SQL. The only place here that knows SQL; must not know gRPC or configuration.
//!
//! One text for SQLite and PostgreSQL. Every change is a [`Work`]: a piece of code that runs inside a transaction and may be run
//! again from the start, because a transaction may lose against another one, or share its commit with others.
//!
//! **No deadlock:** locks are taken in one order everywhere: the step key's barrier row, then reservations, then items in SKU
//! order. The sweeper takes several reservations at once, but skips those that another transaction has locked.

pub mod audit;
mod catalogue;
mod change;
pub mod checks;
mod close_commit;
mod commit;
mod expire;
mod forget;
mod lines;
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

use std::{sync::atomic::AtomicBool, time::Duration};

use amends_primitives::{OrderId, ReservationId, StepKey, Timestamp};
use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant;

use crate::{
    domain::{Item, NewItem, Rejection, Reservation, Sku},
    ports::{
        Answer, Commit, Expired, ItemPage, Released, ReservationPage, Reserve, Restock, StockStore, StoreError,
        Unputtable,
    },
};

pub use schema::SCHEMA;

use writer::Writer;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        SqlError::from(error).into()
    }
}

/// One change, as it runs inside a transaction. Running it again after a rollback must be harmless, and so must running it again
/// after a commit whose answer was lost.
#[async_trait]
trait Work: Send + Sync + 'static {
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

    async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        self.writer.run(&self.database, work).await
    }
}

#[async_trait]
impl StockStore for Store {
    async fn seed(&self, items: Vec<NewItem>, now: Timestamp) -> Result<u64, StoreError> {
        self.run(catalogue::Seed { items, now }).await
    }

    async fn put_item(&self, item: NewItem, now: Timestamp) -> Result<Result<Item, Unputtable>, StoreError> {
        self.run(catalogue::PutItem { item, now }).await
    }

    async fn items(&self, skus: &[Sku]) -> Result<Vec<Item>, StoreError> {
        catalogue::items(&self.database, skus).await
    }

    async fn list_items(&self, after: Option<&Sku>, limit: usize) -> Result<ItemPage, StoreError> {
        catalogue::list(&self.database, after, limit).await
    }

    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        reservations::find(&self.database, id).await
    }

    async fn reservations(
        &self,
        order: Option<OrderId>,
        after: Option<ReservationId>,
        limit: usize,
    ) -> Result<ReservationPage, StoreError> {
        reservations::list(&self.database, order, after, limit).await
    }

    async fn reserve(&self, ask: Reserve) -> Result<Answer<Reservation>, StoreError> {
        self.run(reserve::Reserving { ask, lost: AtomicBool::default() }).await
    }

    async fn release(&self, key: StepKey, now: Timestamp) -> Result<Result<Released, Rejection>, StoreError> {
        self.run(release::Release { key, now }).await
    }

    async fn commit(&self, ask: Commit) -> Result<Answer<Reservation>, StoreError> {
        self.run(ask).await
    }

    async fn close_commit(&self, key: StepKey, now: Timestamp) -> Result<bool, StoreError> {
        self.run(close_commit::CloseCommit { key, now }).await
    }

    async fn restock(&self, ask: Restock) -> Result<Answer<Reservation>, StoreError> {
        self.run(ask).await
    }

    async fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        reservations::next_expiry(&self.database).await
    }

    async fn expire(&self, now: Timestamp, limit: u32) -> Result<Expired, StoreError> {
        self.run(expire::Expire { now, limit }).await
    }

    async fn rebase(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.run(rebase::Rebase { now, limit }).await
    }

    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.run(forget::Forget { before, limit }).await
    }
}
