//! Pools and transactions. SQLite gets one writer connection and several readers: it has one writer anyway, and queueing for it
//! in the pool is fair and wakes at once, where SQLite's own busy handler sleeps.

use std::{future::Future, time::Duration};

use sqlx::{Any, AnyPool, Executor, any::AnyPoolOptions};

use crate::SqlError;

/// An open transaction. Dropping it rolls back.
pub type Tx = sqlx::Transaction<'static, Any>;

/// Which database this is, for the few statements that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Embedded, one process.
    Sqlite,
    /// A server, any number of replicas.
    Postgres,
}

impl Dialect {
    /// Appended to a `SELECT` that claims rows, so that replicas do not wait for each other. SQLite has one writer and needs none.
    pub const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Appended to a `SELECT` whose rows this transaction will change.
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }
}

/// Bounds of one store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections at the most (PostgreSQL), readers at the most (SQLite).
    pub connections_max: u32,
    /// How long a call waits for a free connection, or to connect.
    pub acquire_timeout: Duration,
    /// How long one statement may run; [`Database::bounded`] and PostgreSQL's `statement_timeout` enforce it.
    pub statement_timeout: Duration,
    /// How long a transaction may wait for its next statement; PostgreSQL's `idle_in_transaction_session_timeout` enforces it. A
    /// process that is frozen in the middle of one keeps its locks for so long. Default 1.5 s: a thousand times what it takes.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 16,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(3),
            idle_in_transaction_timeout: Duration::from_millis(1500),
        }
    }
}

impl Options {
    /// Bounds for statements of an administrator, such as making a database, which copies files and waits for them to be on the disk.
    pub fn administration() -> Self {
        let bound = Duration::from_mins(2);
        Self {
            connections_max: 1,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: bound,
            idle_in_transaction_timeout: bound,
        }
    }
}

/// Readers of a SQLite file: more do not read sooner on any machine this is for.
const SQLITE_READERS_MAX: u32 = 8;
/// Files that one SQLite connection has open: the database, its write-ahead log, and the memory that its connections share or a file that
/// it sorts in.
const SQLITE_FILES: usize = 3;

/// How many file descriptors a store at that URL has open at the most.
pub fn descriptors(url: &str, options: &Options) -> usize {
    let connections = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    if url.starts_with("sqlite:") {
        (1 + connections(options.connections_max.min(SQLITE_READERS_MAX))).saturating_mul(SQLITE_FILES)
    } else {
        connections(options.connections_max)
    }
}

/// A store's connections.
#[derive(Clone, Debug)]
pub struct Database {
    dialect: Dialect,
    writer: AnyPool,
    reader: AnyPool,
    bound: Duration,
}

impl Database {
    /// Opens the pools; connects lazily, so that a process can start before its database does.
    ///
    /// # Errors
    /// When the URL names another kind of database or cannot be parsed.
    pub fn connect_lazy(url: &str, options: &Options) -> Result<Self, SqlError> {
        sqlx::any::install_default_drivers();
        let dialect = match url.split_once(':') {
            Some(("sqlite", _)) => Dialect::Sqlite,
            Some(("postgres" | "postgresql", _)) => Dialect::Postgres,
            _ => return Err(SqlError::UnsupportedUrl),
        };
        let pool = |connections_max: u32| {
            let set_up = session_set_up(dialect, options);
            AnyPoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(options.acquire_timeout)
                // A round trip each time, for which the connections that died with a server are not each found out by a caller.
                .test_before_acquire(dialect == Dialect::Postgres)
                .after_connect(move |connection, _| {
                    let set_up = set_up.clone();
                    Box::pin(async move { connection.execute(sqlx::AssertSqlSafe(set_up)).await.map(|_| ()) })
                })
                .connect_lazy(url)
        };
        let (writer, reader) = match dialect {
            Dialect::Sqlite => (pool(1)?, pool(options.connections_max.min(SQLITE_READERS_MAX))?),
            Dialect::Postgres => {
                let shared = pool(options.connections_max)?;
                (shared.clone(), shared)
            }
        };
        Ok(Self { dialect, writer, reader, bound: options.acquire_timeout + options.statement_timeout })
    }

    /// Which database this is.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// For statements that only read. On SQLite they see the last committed state and never wait for the writer.
    pub const fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// For single statements that write.
    pub const fn writer(&self) -> &AnyPool {
        &self.writer
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once, so that it cannot fail half-way.
    ///
    /// # Errors
    /// When no connection could be had in time.
    pub async fn begin(&self) -> Result<Tx, SqlError> {
        let begun = match self.dialect {
            Dialect::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.writer.begin().await,
        };
        Ok(begun?)
    }

    /// Runs a store call with a bound, so that a database that hangs (paused, cut off) never hangs its callers. A call cut short
    /// may or may not have committed.
    ///
    /// # Errors
    /// What the call returns, or [`SqlError::TimedOut`].
    pub async fn bounded<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<SqlError>,
    {
        match tokio::time::timeout(self.bound, call).await {
            Ok(result) => result,
            Err(_elapsed) => Err(SqlError::TimedOut.into()),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), SqlError> {
        self.bounded(async {
            sqlx::query("SELECT 1").execute(&self.reader).await.map_err(SqlError::from)?;
            Ok(())
        })
        .await
    }

    /// Closes the pools after their calls in flight.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn session_set_up(dialect: Dialect, options: &Options) -> String {
    match dialect {
        // FULL: an acknowledged commit survives the machine, not only the process.
        Dialect::Sqlite => format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = {};",
            options.acquire_timeout.as_millis()
        ),
        Dialect::Postgres => {
            let (statement, idle) = (options.statement_timeout, options.idle_in_transaction_timeout);
            format!(
                "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {};",
                statement.as_millis(),
                idle.as_millis()
            )
        }
    }
}
