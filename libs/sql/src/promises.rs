//! The promises of a claimed SQLite file; [`claim`](crate::claim) says what they are for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::JoinHandle;

use crate::lock::FileLock;

/// Between two promises: a few pages are written for each, so that this costs nothing that can be measured.
pub(crate) const PROMISE_EVERY: Duration = Duration::from_secs(2);
/// How long a promise waits for the writer. Longer than a transaction takes; if it fails, the next comes soon.
const BUSY: Duration = Duration::from_millis(500);
/// As much as can be done without waiting for a reader or a writer.
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// The table of the number that is kept. On a page of its own: a checkpoint copies the newest version of a page, or none.
pub(crate) const KEPT: &str = "CREATE TABLE IF NOT EXISTS _amends_claim (id INTEGER PRIMARY KEY CHECK (id = 1), kept BIGINT NOT NULL); \
                    INSERT OR IGNORE INTO _amends_claim VALUES (1, 0);";

/// Where a database keeps its claim. Clones share it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Slot(Arc<Mutex<Option<Claim>>>);

#[derive(Debug)]
struct Claim {
    _lock: Arc<FileLock>,
    promises: Arc<tokio::sync::Mutex<Promises>>,
    again: JoinHandle<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.again.abort();
    }
}

impl Slot {
    /// Takes a claim on `file`, of which `lock` is held; its first promise is made by the migration.
    pub(crate) fn fill(&self, file: PathBuf, lock: Arc<FileLock>) {
        let promises = Promises { file, open: None, seen: None, failing: false };
        let promises = Arc::new(tokio::sync::Mutex::new(promises));
        let again = tokio::spawn(promise_again(Arc::clone(&promises)));
        *self.get() = Some(Claim { _lock: lock, promises, again });
    }

    fn get(&self) -> std::sync::MutexGuard<'_, Option<Claim>> {
        // What it guards is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a promise now, if there is a claim: before the first customer is served.
    pub(crate) async fn promise(&self) {
        let promises = self.get().as_ref().map(|claim| Arc::clone(&claim.promises));
        if let Some(promises) = promises {
            make(promises, true).await;
        }
    }

    /// Gives the claim back, after the pools were closed.
    pub(crate) async fn release(&self) {
        let Some(claim) = self.get().take() else { return };
        claim.again.abort();
        let mut promises = claim.promises.lock().await;
        // The last to close: SQLite moves everything into the file, the kept promise with it, and removes the -wal.
        let Some((holder, pin)) = promises.open.take() else { return };
        for connection in [pin, holder] {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, file = %promises.file.display(), "the store was not closed in order; its next start recovers it");
            }
        }
    }
}

async fn promise_again(promises: Arc<tokio::sync::Mutex<Promises>>) {
    let mut ticks = tokio::time::interval(PROMISE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The first one is made by the migration, which makes the file.
        make(Arc::clone(&promises), false).await;
    }
}

/// In a task of its own. Cut off between a promise and its keeping, because its caller has gone or the claim is given back, it would leave
/// a file that is whole and is refused.
async fn make(promises: Arc<tokio::sync::Mutex<Promises>>, first: bool) {
    let making = async move {
        let mut promises = promises.lock().await;
        if first || promises.open.is_some() {
            promises.make().await;
        }
    };
    // Fails only with the runtime.
    let _ended = tokio::spawn(making).await;
}

#[derive(Debug)]
struct Promises {
    file: PathBuf,
    /// One that promises and one that pins. Open all the time: SQLite removes the `-wal` when the last connection closes, which those
    /// of idle pools do.
    open: Option<(SqliteConnection, SqliteConnection)>,
    /// SQLite's count of what others have committed, at the last promise.
    seen: Option<i64>,
    failing: bool,
}

impl Promises {
    /// A failure is told once and tried again: the store may be out of space, and what it cannot promise it can still read.
    async fn make(&mut self) {
        let failed = self.try_make().await.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.failing) {
            tracing::warn!(%error, file = %self.file.display(), "a copy of the store without its -wal cannot be told for now");
        }
        self.failing = failed.is_some();
    }

    async fn try_make(&mut self) -> Result<(), sqlx::Error> {
        let (connection, pin) = match &mut self.open {
            Some(open) => open,
            empty @ None => empty.insert((open(&self.file).await?, open(&self.file).await?)),
        };
        let version = number(connection, "PRAGMA data_version").await?;
        if self.seen == Some(version) {
            return Ok(());
        }
        sqlx::raw_sql(KEPT).execute(&mut *connection).await?;
        let promised = number(connection, "PRAGMA user_version").await?;
        let next = if (0..i64::from(i32::MAX)).contains(&promised) { promised + 1 } else { 1 };
        // With everything before it, or what the file keeps would be pages of different moments.
        sqlx::raw_sql(CHECKPOINT).execute(&mut *connection).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {next}"))).execute(&mut *connection).await?;
        // A checkpoint goes no further than what the oldest reader sees: the promise, not its keeping.
        let mut pinned = pin.begin().await?;
        sqlx::query("SELECT COUNT(*) FROM sqlite_schema").execute(&mut *pinned).await?;
        keep(connection, next).await?;
        sqlx::raw_sql(CHECKPOINT).execute(&mut *connection).await?;
        pinned.rollback().await?;
        self.seen = Some(version);
        Ok(())
    }
}

pub(crate) async fn keep(connection: &mut SqliteConnection, promised: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE _amends_claim SET kept = $1").bind(promised).execute(connection).await?;
    Ok(())
}

pub(crate) async fn open(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    // NORMAL: neither number need survive a power cut, and without waiting for the disk there is hardly a moment between the two
    // commits at which a crash could find one without the other.
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Normal)
        .connect()
        .await
}

pub(crate) async fn number(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(connection).await
}
