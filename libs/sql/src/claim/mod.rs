//! A server's claim on its SQLite file: alone on it, and a copy of the file without its `-wal` is told from the file.
//!
//! What is committed goes to `FILE-wal` first, and to `FILE` some thousand pages later. A copy of `FILE` alone is therefore an older
//! store, whole by every check of SQLite's, and looks like one that was closed. So the main file makes a promise: a number in its first
//! page (`user_version`, which SQLite leaves to its users) is one ahead of a number in a table of ours, and the commit that makes them
//! equal is in the `-wal`. Any program that closes the file (ours, `sqlite3`, a recovery after a crash) moves that commit into it; a
//! file that promises more than it keeps, with no `-wal` beside it, lacks what was committed after the promise.
//!
//! The promise is made at the start and, since SQLite's own checkpoints keep it, again every [`PROMISE_EVERY`](crate::promises::PROMISE_EVERY) if anything was
//! committed. A copy taken between such a checkpoint and the next promise is not told; the audit then compares the stores. A process
//! killed in the microseconds between the promise and its keeping, whose file another program closes, leaves a file that is whole and
//! is refused; [`accept`] takes it.
//!
//! Must not know: any table of a service.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    Database, SqlError,
    lock::{FileLock, LockError},
    path,
    promises::{KEPT, keep, number, open},
};

/// Why a server may not use its file.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It was copied without its `-wal`.
    #[error(transparent)]
    Torn(#[from] Torn),
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SqlError,
    },
}

/// A SQLite file that lacks what was committed last, since the `-wal` that held it is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} lacks what was committed to it last: it was copied, or left, without {0}-wal, which held that. Bring the -wal back, or restore a \
     backup (`amends restore`); what remains can be taken as it is with `amends accept`",
    .file.display()
)]
pub struct Torn {
    /// The file.
    pub file: PathBuf,
}

/// The file of a URL such as `sqlite://order.db?mode=rwc`; `None` for a server's, and for a store in memory.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    url.starts_with("sqlite:").then(|| path::file_of(url)).flatten()
}

/// Takes the right to serve `file`, which `FILE.lock` holds; its folder must exist.
///
/// # Errors
/// When another process has it.
pub fn lock_sqlite(file: &Path) -> Result<Arc<FileLock>, LockError> {
    FileLock::take(&with_suffix(file, ".lock"), file)
}

/// The file that belongs to `file` under SQLite's naming: `-wal`, `-shm`, or our `.lock`.
pub fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Finds a file that lacks its `-wal`. Call it before this process opens the file otherwise: closing what is opened here would give back
/// SQLite's locks of this process.
///
/// # Errors
/// When the file is there and cannot be opened.
pub async fn find_torn(file: &Path) -> Result<Option<Torn>, SqlError> {
    let wal = with_suffix(file, "-wal");
    // In this order: a server that ends keeps its promise first, and one that starts makes the -wal first.
    let alone = || !wal.exists();
    let torn = alone() && file.exists() && promises_more_than_it_keeps(file).await? && alone();
    Ok(torn.then(|| Torn { file: file.to_path_buf() }))
}

/// What the main file says, whatever its `-wal` does.
async fn promises_more_than_it_keeps(file: &Path) -> Result<bool, SqlError> {
    // Neither locks nor a -wal: both would be made by looking.
    let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true).connect().await?;
    let promised = number(&mut connection, "PRAGMA user_version").await;
    let kept = match promised {
        Ok(1..) => number(&mut connection, "SELECT kept FROM _amends_claim").await,
        // Made by an older version, or not a database; what opens it for use says so better.
        _ => Ok(0),
    };
    connection.close().await?;
    // Without the table, or damaged, it keeps nothing that can be known; again what opens it for use finds that.
    Ok(matches!((promised, kept), (Ok(promised), Ok(kept)) if promised > kept))
}

impl Database {
    /// Claims the SQLite file of `url`, the one this database was opened with, until [`close`](Self::close): no other process may
    /// serve it, and copies without its `-wal` can be told. Does nothing for PostgreSQL. Call it before anything reads the file, and
    /// [`migrate`](Self::migrate) next, which makes the first promise.
    ///
    /// # Errors
    /// When another process has it, or the file lacks its `-wal`.
    pub async fn claim(&self, url: &str) -> Result<(), ClaimError> {
        let Some(file) = sqlite_file(url) else { return Ok(()) };
        if file.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            // Nothing is served there. Opening it fails next, and says so without the path, which may be a mistyped secret.
            return Ok(());
        }
        let lock = lock_sqlite(&file)?;
        // With another owner of the lock in this process, that one has looked, and the file may be open.
        if Arc::strong_count(&lock) == 1
            && let Some(torn) =
                find_torn(&file).await.map_err(|source| ClaimError::Read { path: file.clone(), source })?
        {
            return Err(torn.into());
        }
        self.claimed().fill(file, lock);
        Ok(())
    }
}

/// Takes a file that lacks its `-wal` as it is: what is in it now counts as whole. Only for its one owner.
///
/// # Errors
/// When the file cannot be opened or written.
pub async fn accept(file: &Path) -> Result<(), SqlError> {
    let mut connection = open(file).await?;
    sqlx::raw_sql(KEPT).execute(&mut connection).await?;
    let promised = number(&mut connection, "PRAGMA user_version").await?;
    keep(&mut connection, promised).await?;
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests;
