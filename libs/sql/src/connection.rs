//! A connection that knows whether it can still be trusted. One on which a commit, a rollback or a begin failed, or that lost its
//! transaction to a failure of the disk, is closed instead of going back to the pool, and the next caller gets a fresh one at once.
//!
//! Why not the driver's transactions: SQLite rolls back by itself when it cannot write, the driver's count of open transactions goes
//! down only when its own `ROLLBACK` succeeds, and a connection whose count is wrong refuses every later transaction.

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

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

use crate::{
    Operation, classes,
    health::Health,
    sqlite::{Held, Outcome, Statement, Wanted},
};

/// A `ROLLBACK` that takes longer is given up together with its connection, which comes to the same.
const ROLLBACK_BOUND: Duration = Duration::from_secs(5);

/// A connection of one of a [`Database`](crate::Database)'s pools. Goes back to it when dropped, unless it is not to be used again.
#[derive(Debug)]
pub struct Connection {
    raw: Raw,
    watch: Watch,
    transaction: State,
}

#[derive(Debug)]
enum Raw {
    /// None only once it has been dropped or taken for a rollback.
    Server(Option<PoolConnection<Any>>),
    /// None while a statement runs, and if that was given up.
    File(Option<Held>),
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
        if classes::ends_connection(error) {
            self.lost = true;
            self.health.lost_a_connection();
        }
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
    pub(crate) const fn to_server(raw: PoolConnection<Any>, health: Arc<Health>) -> Self {
        Self::new(Raw::Server(Some(raw)), health)
    }

    pub(crate) const fn to_file(held: Held, health: Arc<Health>) -> Self {
        Self::new(Raw::File(Some(held)), health)
    }

    const fn new(raw: Raw, health: Arc<Health>) -> Self {
        Self { raw, watch: Watch { health, lost: false, wrote: false }, transaction: State::None }
    }

    /// A server's, for code that uses the driver itself. The caller must call [`give_up`](Self::give_up) when that failed.
    pub(crate) fn raw(&mut self) -> Option<&mut AnyConnection> {
        match &mut self.raw {
            Raw::Server(raw) => raw.as_deref_mut(),
            Raw::File(_) => None,
        }
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
        let begun = Instant::now();
        let result = self.settle("COMMIT", State::None).await;
        self.watch.health.counters.ended(Operation::Commit, begun.elapsed(), result.as_ref().err());
        result?;
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
        let result = match &mut self.raw {
            Raw::Server(Some(raw)) => raw.execute(statement).await.map(drop),
            Raw::Server(None) => Err(Error::WorkerCrashed),
            Raw::File(held) => Held::run(held, |session| session.simple(statement)).await,
        };
        match self.watch.noted(result) {
            Ok(()) => {
                self.transaction = then;
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Runs statements without values or rows, in one round trip.
    pub(crate) async fn run_all(&mut self, statements: &'static [&'static str]) -> Result<(), Error> {
        self.watch.usable()?;
        for _ in statements {
            self.watch.health.counters.statement();
        }
        let result = match &mut self.raw {
            Raw::Server(Some(raw)) => {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statements.join("; "))).execute(&mut **raw).await.map(drop)
            }
            Raw::Server(None) => Err(Error::WorkerCrashed),
            Raw::File(held) => {
                Held::run(held, |session| statements.iter().try_for_each(|statement| session.simple(statement))).await
            }
        };
        self.watch.noted(result)
    }

    /// Has one statement run.
    async fn ask<'q>(&mut self, query: impl Execute<'q, Any> + 'q, wanted: Wanted) -> Result<Outcome, Error> {
        self.watch.usable()?;
        self.watch.health.counters.statement();
        let statement = Statement::of(query, wanted)?;
        let (operation, begun) = (Operation::of(statement.sql.as_str()), Instant::now());
        let health = Arc::clone(&self.watch.health);
        let result = health.target.statement(statement.sql.clone(), self.raw.ask(statement)).await;
        self.watch.health.counters.ended(operation, begun.elapsed(), result.as_ref().err());
        self.watch.noted(result)
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

impl Raw {
    /// Has a statement run, and reads those of its rows that are wanted.
    async fn ask(&mut self, statement: Statement) -> Result<Outcome, Error> {
        match self {
            Self::Server(Some(raw)) => match statement.wanted {
                Wanted::None => {
                    raw.execute(statement).await.map(|done| Outcome { rows: Vec::new(), changed: done.rows_affected() })
                }
                Wanted::First => {
                    // To the end, where the driver would leave after the first row: a write that is a transaction of its own is
                    // committed after its rows, and only then says whether that failed.
                    let mut rows = Vec::with_capacity(1);
                    let mut answers = raw.fetch_many(statement);
                    while let Some(answer) = answers.try_next().await? {
                        rows.extend(answer.right().filter(|_| rows.is_empty()));
                    }
                    drop(answers);
                    Ok(Outcome { rows, changed: 0 })
                }
                Wanted::All => {
                    let rows = raw.fetch_all(statement).await?;
                    Ok(Outcome { rows, changed: 0 })
                }
            },
            Self::Server(None) => Err(Error::WorkerCrashed),
            Self::File(held) => Held::run(held, move |session| session.run(&statement)).await,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match &mut self.raw {
            // An open transaction is rolled back with it.
            Raw::File(held) => {
                if let Some(held) = held.as_mut().filter(|_| self.watch.lost) {
                    held.give_up();
                }
            }
            Raw::Server(raw) => {
                let Some(mut raw) = raw.take() else { return };
                if self.watch.lost || self.transaction == State::Unsettled {
                    raw.close_on_drop();
                } else if self.transaction == State::Open {
                    let mut left = Self::to_server(raw, Arc::clone(&self.watch.health));
                    left.transaction = State::Unsettled;
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
            let changed = self.ask(query, Wanted::None).await?.changed;
            self.changed(changed);
            Ok(AnyQueryResult { rows_affected: changed, ..AnyQueryResult::default() })
        }
        .boxed()
    }

    /// The rows are collected before the first is handed out: all callers want all of them.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let rows = async move {
            let rows = self.ask(query, Wanted::All).await?.rows;
            Ok::<_, Error>(stream::iter(rows.into_iter().map(|row| Ok(Either::Right(row)))))
        };
        stream::once(rows).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        async move { Ok(self.ask(query, Wanted::First).await?.rows.pop()) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        _sql: SqlStr,
        _parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        future::ready(Err(unsupported())).boxed()
    }

    fn describe<'e>(self, _sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        future::ready(Err(unsupported())).boxed()
    }
}

/// Statements are prepared where they run, and kept there; nothing asks for one beforehand.
pub(crate) fn unsupported() -> Error {
    Error::Configuration("statements are not prepared or described by themselves".into())
}
