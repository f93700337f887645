//! A connection that knows whether it can still be trusted. One on which a commit, a rollback or a begin failed, or that lost its
//! transaction to a failure of the disk, is closed instead of going back to the pool, and the next caller gets a fresh one at once.
//!
//! Why not the driver's transactions: SQLite rolls back by itself when it cannot write, the driver's count of open transactions goes
//! down only when its own `ROLLBACK` succeeds, and a connection whose count is wrong refuses every later transaction.

use std::{future, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Any, AnyConnection, Describe, Either, Error, Execute, Executor, SqlStr,
    any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
    pool::PoolConnection,
};

use crate::{classes, health::Health};

/// A `ROLLBACK` that takes longer is given up together with its connection, which comes to the same.
const ROLLBACK_BOUND: Duration = Duration::from_secs(5);

/// A connection of one of a [`Database`](crate::Database)'s pools. Goes back to it when dropped, unless it is not to be used again.
#[derive(Debug)]
pub struct Connection {
    /// None only once it has been dropped or taken for a rollback.
    raw: Option<PoolConnection<Any>>,
    watch: Watch,
    transaction: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    /// `BEGIN`, `COMMIT` or `ROLLBACK` was sent and its answer has not come: cut short here, its outcome is in doubt.
    Unsettled,
    Open,
}

#[derive(Debug)]
struct Watch {
    health: Arc<Health>,
    /// Nothing more may run on it.
    lost: bool,
    /// The open transaction has changed rows.
    wrote: bool,
}

impl Watch {
    fn usable(&self) -> Result<(), Error> {
        if self.lost { Err(ended()) } else { Ok(()) }
    }

    fn saw(&mut self, error: &Error) {
        self.lost |= classes::ends_connection(error);
        self.health.failed(error);
    }

    fn noted<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.saw(error))
    }
}

/// What a transaction that is no longer there answers to further statements.
fn ended() -> Error {
    Error::Io(std::io::Error::other("an earlier failure of the database has ended this transaction"))
}

impl Connection {
    pub(crate) const fn new(raw: PoolConnection<Any>, health: Arc<Health>) -> Self {
        Self { raw: Some(raw), watch: Watch { health, lost: false, wrote: false }, transaction: State::None }
    }

    /// For code that uses the driver itself. The caller must call [`give_up`](Self::give_up) when that failed.
    pub(crate) fn raw(&mut self) -> Result<&mut AnyConnection, Error> {
        self.raw.as_deref_mut().ok_or(Error::WorkerCrashed)
    }

    /// It is closed instead of being used again.
    pub(crate) const fn give_up(&mut self) {
        self.watch.lost = true;
    }

    pub(crate) async fn begin(&mut self, statement: &'static str) -> Result<(), Error> {
        self.settle(statement, State::Open).await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.watch.usable()?;
        self.settle("COMMIT", State::None).await?;
        self.watch.health.counters.commit();
        if self.watch.wrote {
            self.watch.health.wrote();
        }
        Ok(())
    }

    pub(crate) async fn roll_back(&mut self) -> Result<(), Error> {
        // Closing it rolls back, if that has not happened yet.
        if self.watch.lost {
            return Ok(());
        }
        self.settle("ROLLBACK", State::None).await
    }

    async fn settle(&mut self, statement: &'static str, then: State) -> Result<(), Error> {
        self.transaction = State::Unsettled;
        let result = self.raw()?.execute(statement).await;
        match self.watch.noted(result) {
            Ok(_) => {
                self.transaction = then;
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// `rows` were changed by an `execute`. What returns rows is not counted, as the number is then PostgreSQL's of rows read.
    fn changed(&mut self, rows: u64) {
        match self.transaction {
            _ if rows == 0 => {}
            State::None => {
                self.watch.health.counters.commit();
                self.watch.health.wrote();
            }
            State::Open | State::Unsettled => self.watch.wrote = true,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut raw) = self.raw.take() else { return };
        if self.watch.lost || self.transaction == State::Unsettled {
            raw.close_on_drop();
        } else if self.transaction == State::Open {
            let (health, transaction) = (Arc::clone(&self.watch.health), State::Unsettled);
            let mut left = Self { raw: Some(raw), watch: Watch { health, lost: false, wrote: false }, transaction };
            tokio::spawn(async move {
                // Cut short or failed, it is closed.
                let rolled_back = tokio::time::timeout(ROLLBACK_BOUND, left.roll_back()).await;
                if let Ok(Err(error)) = rolled_back {
                    tracing::debug!(%error, "a transaction that was left could not be rolled back; its connection is closed");
                }
            });
        }
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Any;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<AnyQueryResult, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        async move {
            self.watch.usable()?;
            self.watch.health.counters.statement();
            let result = self.raw()?.execute(query).await;
            let result = self.watch.noted(result)?;
            self.changed(result.rows_affected());
            Ok(result)
        }
        .boxed()
    }

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let refused = |error| stream::once(future::ready(Err(error))).boxed();
        if let Err(error) = self.watch.usable() {
            return refused(error);
        }
        let Connection { raw: Some(raw), watch, .. } = self else { return refused(Error::WorkerCrashed) };
        watch.health.counters.statement();
        (&mut **raw).fetch_many(query).inspect_err(|error| watch.saw(error)).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        async move {
            self.watch.usable()?;
            self.watch.health.counters.statement();
            let result = self.raw()?.fetch_optional(query).await;
            self.watch.noted(result)
        }
        .boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        async move {
            self.watch.usable()?;
            let result = self.raw()?.prepare_with(sql, parameters).await;
            self.watch.noted(result)
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        async move { self.raw()?.describe(sql).await }.boxed()
    }
}
