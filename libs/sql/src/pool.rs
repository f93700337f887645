//! Connections to one database, each as trustworthy as the last: a connection that may be wrong is closed, and a session that
//! cannot be set up says why.

use std::{cell::Cell, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Any, AnyPool, Describe, Either, Error, Execute, Executor, SqlStr,
    any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
};

use crate::{Connection, classes::Class, health::Health};

/// Into WAL mode a new file is put with a lock that SQLite does not wait for; several processes that open it at once take turns.
const SET_UP_ATTEMPTS_MAX: u32 = 20;
const SET_UP_PAUSE: Duration = Duration::from_millis(25);

tokio::task_local! {
    /// Why the session that this task opens could not be set up. The driver's pool would try again until its time is up, and then say
    /// only that it was.
    static REFUSED: Cell<Option<Error>>;
}

/// What statements run on by themselves: `query.execute(database.writer())`. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: AnyPool,
    health: Arc<Health>,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) store_fault: Arc<crate::testing::StoreFault>,
}

impl Pool {
    pub(crate) fn new(
        options: AnyPoolOptions,
        connect: AnyConnectOptions,
        set_up: String,
        health: Arc<Health>,
    ) -> Self {
        let set_up: Arc<str> = set_up.into();
        let options = options.after_connect(move |connection, _| {
            let set_up = Arc::clone(&set_up);
            Box::pin(async move {
                let mut attempts = 1;
                loop {
                    match connection.execute(sqlx::AssertSqlSafe(set_up.to_string())).await {
                        Err(error) if Class::of(&error) == Class::Contended && attempts < SET_UP_ATTEMPTS_MAX => {
                            attempts += 1;
                            tokio::time::sleep(SET_UP_PAUSE).await;
                        }
                        Err(error) => return refuse(error),
                        Ok(_) => return Ok(()),
                    }
                }
            })
        });
        Self {
            connections: options.connect_lazy_with(connect),
            health,
            #[cfg(any(test, feature = "testing"))]
            store_fault: Arc::default(),
        }
    }

    /// A connection of one's own, for statements that must run on one. Goes back when dropped.
    ///
    /// # Errors
    /// When none could be had in time, or opened.
    pub async fn acquire(&self) -> Result<Connection, Error> {
        let opened = REFUSED.scope(Cell::new(None), async {
            let connection = self.connections.acquire().await?;
            Ok::<_, Error>((connection, REFUSED.with(Cell::take)))
        });
        let opened = match opened.await {
            Ok((connection, refused)) => {
                let mut connection = Connection::new(connection, Arc::clone(&self.health));
                match refused {
                    #[cfg(any(test, feature = "testing"))]
                    None => self.store_fault.apply(connection).await,
                    #[cfg(not(any(test, feature = "testing")))]
                    None => Ok(connection),
                    Some(error) => {
                        connection.give_up();
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        };
        opened.inspect_err(|error| self.health.failed(error))
    }

    /// From now on connections are opened this way.
    pub(crate) fn reconnect_with(&self, connect: AnyConnectOptions) {
        self.connections.set_connect_options(connect);
    }

    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

fn refuse(error: Error) -> Result<(), Error> {
    let mut error = Some(error);
    // Fails where the task is not one of ours: then the error is left where it was.
    let _told = REFUSED.try_with(|refused| refused.set(error.take()));
    error.map_or(Ok(()), Err)
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Any;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<AnyQueryResult, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.execute(query).await }.boxed()
    }

    /// The rows are collected before the first is handed out: all callers want all of them, and so the connection is soon free again.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        let rows = async move {
            let mut connection = pool.acquire().await?;
            let rows: Vec<_> = connection.fetch_many(query).try_collect().await?;
            Ok::<_, Error>(stream::iter(rows.into_iter().map(Ok)))
        };
        stream::once(rows).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.fetch_optional(query).await }.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.describe(sql).await }.boxed()
    }
}
