//! A store: its pools and its bounds. SQLite gets one writer connection and several readers: it has one writer anyway, and queueing for
//! it in the pool is fair and wakes at once, where SQLite's own busy handler sleeps.

use std::{future::Future, path::PathBuf, str::FromStr as _, sync::Arc, time::Duration};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use tokio::sync::OnceCell;

use crate::{Counts, Pool, SqlError, Teller, Tx, health::Health, path, promises::Slot, spans::Target, sqlite::Files};

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
    /// For how long a change that was made durable shows that the store can be written. When none was made for so long,
    /// [`Database::ready`] makes one: a probe each second then costs an idle store a flush of the disk each five, and a busy one none.
    pub write_shows: Duration,
    /// Whether a SQLite file that is missing is made. Tools that only look say no.
    pub may_create: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 16,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(3),
            idle_in_transaction_timeout: Duration::from_millis(1500),
            write_shows: Duration::from_secs(5),
            may_create: true,
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
            ..Self::default()
        }
    }

    /// For tools that look at a store beside its service, and must not leave an empty file where there is none.
    pub fn looking() -> Self {
        Self { may_create: false, ..Self::default() }
    }
}

/// Readers of a SQLite file: more do not read sooner on any machine this is for.
const SQLITE_READERS_MAX: u32 = 8;
/// Files that one SQLite connection has open: the database, its write-ahead log, and the memory that its connections share or a file that
/// it sorts in.
const SQLITE_FILES: usize = 3;
/// So many pages in the `-wal` (16 MB), and the commit that added the last one moves them into the file. A file that is claimed has that
/// done every two seconds by its claim, so that no customer waits for it.
const WAL_PAGES_MAX: u32 = 4_000;
/// What [`Database::claim`] has open: two connections and the lock.
const CLAIM_CONNECTIONS: usize = 2;
const LOCKS: usize = 1;

/// How many file descriptors a store at that URL has open at the most.
pub fn descriptors(url: &str, options: &Options) -> usize {
    let connections = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    if url.starts_with("sqlite:") {
        let pools = 1 + connections(options.connections_max.min(SQLITE_READERS_MAX));
        (pools + CLAIM_CONNECTIONS).saturating_mul(SQLITE_FILES) + LOCKS
    } else {
        connections(options.connections_max)
    }
}

/// A store's connections.
#[derive(Clone, Debug)]
pub struct Database {
    dialect: Dialect,
    writer: Pool,
    reader: Pool,
    bound: Duration,
    pub(crate) write_shows: Duration,
    pub(crate) health: Arc<Health>,
    /// Of SQLite, and not in memory.
    pub(crate) file: Option<Arc<File>>,
    claimed: Slot,
}

/// A SQLite file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// Opens it without making it.
    pub(crate) existing_url: String,
    /// Set once it has been looked at, at the start.
    pub(crate) looked_at: OnceCell<()>,
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
        let file = (dialect == Dialect::Sqlite)
            .then(|| path::file_of(url))
            .flatten()
            .map(|path| Arc::new(File { path, existing_url: path::existing_only(url), looked_at: OnceCell::new() }));
        let connect = AnyConnectOptions::from_str(url)?;
        let set_up = session_set_up(dialect, options);
        let health = Arc::new(Health::of(Target::new(dialect == Dialect::Sqlite, &connect)));
        let (writer, reader) = match dialect {
            Dialect::Sqlite => {
                let opening = path::opening(connect.database_url.as_str(), options.may_create, set_up)?;
                let pool = |connections_max: u32| {
                    let files = Files::new(opening.clone(), connections_max, options.acquire_timeout);
                    Pool::of_file(files, Arc::clone(&health))
                };
                (pool(1), pool(options.connections_max.min(SQLITE_READERS_MAX)))
            }
            Dialect::Postgres => {
                let pool = AnyPoolOptions::new()
                    .max_connections(options.connections_max)
                    .acquire_timeout(options.acquire_timeout);
                let shared = Pool::new(pool, connect, set_up, Arc::clone(&health));
                (shared.clone(), shared)
            }
        };
        let bound = options.acquire_timeout + options.statement_timeout;
        Ok(Self {
            dialect,
            writer,
            reader,
            bound,
            write_shows: options.write_shows,
            health,
            file,
            claimed: Slot::default(),
        })
    }

    /// Which database this is.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What was asked of it through this handle and its clones since it was opened.
    pub fn counts(&self) -> Counts {
        self.health.counters.read()
    }

    /// Has `teller` told of each statement from now on: what it was, how long it took, and as what kind of failure it ended. Pools of one
    /// store tell together; the first teller stays.
    pub fn tell(&self, teller: Teller) {
        self.health.counters.tell(teller);
    }

    /// For statements that only read. On SQLite they see the last committed state and never wait for the writer.
    pub const fn reader(&self) -> &Pool {
        &self.reader
    }

    /// For single statements that write.
    pub const fn writer(&self) -> &Pool {
        &self.writer
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once, so that it cannot fail half-way for want of it.
    ///
    /// # Errors
    /// When no connection could be had in time.
    pub async fn begin(&self) -> Result<Tx, SqlError> {
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        Ok(Tx::begin(self.writer.acquire().await?, statement).await?)
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// When no connection could be had in time.
    pub async fn begin_reading(&self) -> Result<Tx, SqlError> {
        Ok(Tx::begin(self.reader.acquire().await?, "BEGIN").await?)
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

    pub(crate) const fn bound(&self) -> Duration {
        self.bound
    }

    /// The file was there, and is to be there from now on: one that is gone is not made anew, which would be an empty store.
    pub(crate) fn expect_the_file(&self) {
        self.writer.expect_the_file();
        self.reader.expect_the_file();
    }

    /// Closes the pools after their calls in flight, and gives back the [claim](Self::claim).
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        self.claimed.release().await;
    }

    pub(crate) const fn claimed(&self) -> &Slot {
        &self.claimed
    }
}

fn session_set_up(dialect: Dialect, options: &Options) -> String {
    match dialect {
        // FULL: an acknowledged commit survives the machine, not only the process.
        Dialect::Sqlite => format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX};",
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
