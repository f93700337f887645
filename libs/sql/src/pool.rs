//! Connections to one database, each as trustworthy as the last: a connection that may be wrong is closed, and a session that
//! cannot be set up says why.

use std::{cell::Cell, future, sync::Arc};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Any, AnyPool, Connection as _, Describe, Either, Error, Execute, Executor, SqlStr,
    any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
};

use rusqlite::OpenFlags;

use crate::{Connection, connection::unsupported, health::Health, sqlite::Files};

tokio::task_local! {
    /// Why the session that this task opens could not be set up. The driver's pool would try again until its time is up, and then say
    /// only that it was.
    static REFUSED: Cell<Option<Error>>;
}

/// What statements run on by themselves: `query.execute(database.writer())`. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: Connections,
    health: Arc<Health>,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) store_fault: Arc<crate::testing::StoreFault>,
}

#[derive(Debug, Clone)]
enum Connections {
    Server(AnyPool),
    File(Files),
}

impl Pool {
    /// To a server.
    pub(crate) fn new(
        options: AnyPoolOptions,
        connect: AnyConnectOptions,
        set_up: String,
        health: Arc<Health>,
    ) -> Self {
        let set_up: Arc<str> = set_up.into();
        let of_all = Arc::clone(&health);
        // Testing each costs a round trip each time; testing none, every connection that died with a server is found out by a caller.
        let options = options.test_before_acquire(false).before_acquire(move |connection, idle| {
            let doubtful = of_all.doubts(idle.idle_for);
            Box::pin(async move {
                if doubtful {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
        let options = options.after_connect(move |connection, _| {
            let set_up = Arc::clone(&set_up);
            Box::pin(async move {
                match connection.execute(sqlx::AssertSqlSafe(set_up.to_string())).await {
                    Err(error) => refuse(error),
                    Ok(_) => Ok(()),
                }
            })
        });
        Self::of(Connections::Server(options.connect_lazy_with(connect)), health)
    }

    /// To a SQLite file.
    pub(crate) fn of_file(files: Files, health: Arc<Health>) -> Self {
        Self::of(Connections::File(files), health)
    }

    fn of(connections: Connections, health: Arc<Health>) -> Self {
        Self {
            connections,
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
        let acquired = match &self.connections {
            Connections::Server(pool) => self.acquire_of_server(pool).await,
            Connections::File(files) => {
                files.acquire().await.map(|held| Connection::to_file(held, Arc::clone(&self.health)))
            }
        };
        #[cfg(any(test, feature = "testing"))]
        let acquired = match acquired {
            Ok(connection) => self.store_fault.apply(connection).await,
            Err(error) => Err(error),
        };
        acquired.inspect_err(|error| self.health.failed(error))
    }

    async fn acquire_of_server(&self, pool: &AnyPool) -> Result<Connection, Error> {
        let opened = REFUSED.scope(Cell::new(None), async {
            let connection = pool.acquire().await?;
            Ok::<_, Error>((connection, REFUSED.with(Cell::take)))
        });
        let (connection, refused) = opened.await?;
        let mut connection = Connection::to_server(connection, Arc::clone(&self.health));
        match refused {
            None => Ok(connection),
            Some(error) => {
                connection.give_up();
                Err(error)
            }
        }
    }

    /// From now on a SQLite file that is gone is not made anew.
    pub(crate) fn expect_the_file(&self) {
        if let Connections::File(files) = &self.connections {
            files.change_opening(|opening| opening.flags.remove(OpenFlags::SQLITE_OPEN_CREATE));
        }
    }

    pub(crate) async fn close(&self) {
        match &self.connections {
            Connections::Server(pool) => pool.close().await,
            Connections::File(files) => files.close().await,
        }
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

    fn prepare_with<'e>(
        self,
        _sql: SqlStr,
        _parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'p: 'e,
    {
        future::ready(Err(unsupported())).boxed()
    }

    fn describe<'e>(self, _sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'p: 'e,
    {
        future::ready(Err(unsupported())).boxed()
    }
}
