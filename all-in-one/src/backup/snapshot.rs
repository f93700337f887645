//! One moment of several SQLite files, which other processes write meanwhile.
//!
//! All write locks are taken, in one order; while they are held nothing is committed anywhere, and a second connection to each file
//! begins to read. Then the locks are given back: writers waited for milliseconds in their busy handlers, as for each other. What the
//! readers see stays that moment, however long copying takes; only the `-wal` files grow meanwhile, since checkpoints go no further
//! than the oldest reader.
//!
//! Must not know: what is in the files.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
};

use super::copy;

/// Locks are held, or waited for, no longer than this: half of what the stores' own writers wait for one.
const HELD_MAX: Duration = Duration::from_secs(1);
/// Between two tries to get all locks; longer than they were held, so that customers are served between.
const PAUSE: Duration = Duration::from_secs(2);
const TRIES_MAX: u32 = 10;
/// Copied between two looks at whether to go on: a mebibyte of pages of 4 KiB.
const PAGES_AT_ONCE: i32 = 256;

/// Files that are read as they were at one moment, until dropped.
pub(super) struct Snapshot {
    pinned: Vec<(PathBuf, Connection)>,
    /// For how long nothing could be committed.
    pub held: Duration,
}

impl Snapshot {
    /// Pins the files at one moment.
    ///
    /// # Errors
    /// When one cannot be opened, or the locks of all could not be had at once, in several tries.
    pub(super) fn pin(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut left = TRIES_MAX;
        loop {
            left -= 1;
            match try_pin(files) {
                Err(error) if left > 0 && is_busy(&error) => std::thread::sleep(PAUSE),
                pinned => return pinned,
            }
        }
    }

    /// Copies one of the pinned files, as it was, to a new file `to`, readable by its owner alone. Not synced.
    ///
    /// # Errors
    /// When `to` exists or cannot be written.
    pub(super) fn copy(&self, file: &Path, to: &Path) -> anyhow::Result<()> {
        let pinned = self.pinned.iter().find(|(name, _)| name == file);
        let (_, from) = pinned.with_context(|| format!("{} was not pinned", file.display()))?;
        drop(copy::create_private(to)?);
        let writing = || format!("cannot write {}", to.display());
        let mut target = Connection::open_with_flags(to, flags()).with_context(writing)?;
        // Until all of it is there it is no backup, so none of it need survive a power cut.
        target.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF").with_context(writing)?;
        let backup = Backup::new(from, &mut target).with_context(writing)?;
        loop {
            match backup.step(PAGES_AT_ONCE).with_context(writing)? {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                // No other process knows `to`, and a reader of `file` waits for no writer.
                other => anyhow::bail!("cannot copy {} to {}: {other:?}", file.display(), to.display()),
            }
        }
    }
}

fn try_pin(files: &[PathBuf]) -> anyhow::Result<Snapshot> {
    let begun = Instant::now();
    let mut writers = Vec::with_capacity(files.len());
    let mut pinned = Vec::with_capacity(files.len());
    for file in files {
        let reading = || format!("cannot read {}", file.display());
        let writer = open(file).with_context(reading)?;
        let reader = open(file).with_context(reading)?;
        writers.push((file, writer));
        pinned.push((file.clone(), reader));
    }
    let locking = Instant::now();
    for (file, writer) in &writers {
        writer.busy_timeout(HELD_MAX.saturating_sub(locking.elapsed())).context("busy_timeout")?;
        writer.execute_batch("BEGIN IMMEDIATE").with_context(|| format!("cannot lock {}", file.display()))?;
    }
    for (file, reader) in &pinned {
        let pin = || -> rusqlite::Result<i64> {
            reader.execute_batch("BEGIN")?;
            // The first read is what pins.
            reader.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        };
        let tables = pin().with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(tables > 0, "{} holds nothing", file.display());
    }
    // Rolls back: nothing was written.
    drop(writers);
    tracing::debug!(elapsed = ?begun.elapsed(), "pinned");
    Ok(Snapshot { pinned, held: locking.elapsed() })
}

fn flags() -> OpenFlags {
    // Never made: a backup of a file that is not there is a mistake in a path.
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags())?;
    connection.busy_timeout(HELD_MAX)?;
    // Opens the file and its -wal ahead of the lock, and recovers what a crash left.
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code)
        == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn store(dir: &Path, name: &str) -> PathBuf {
        let file = dir.join(name);
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
        file
    }

    fn newest(file: &Path) -> i64 {
        Connection::open(file).unwrap().query_row("SELECT COALESCE(MAX(id), 0) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_pinned_together_is_of_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let files = [store(dir.path(), "a.db"), store(dir.path(), "b.db")];
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Writes n to the first, then n to the second: at any moment they are equal, or the first is one ahead.
            scope.spawn(|| {
                let open = |file: &PathBuf| {
                    let connection = Connection::open(file).unwrap();
                    connection.busy_timeout(Duration::from_secs(10)).unwrap();
                    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
                    connection
                };
                let (a, b) = (open(&files[0]), open(&files[1]));
                let mut id = 0;
                while !done.load(Ordering::Relaxed) {
                    id += 1;
                    for connection in [&a, &b] {
                        connection.execute("INSERT INTO t VALUES (?1)", [id]).unwrap();
                    }
                }
            });
            for round in 0..20 {
                let snapshot = Snapshot::pin(&files).unwrap();
                let copies = ["a", "b"].map(|name| dir.path().join(format!("{name}-{round}.db")));
                // In the order in which a careless copy would find the second ahead.
                for (file, copy) in files.iter().zip(&copies) {
                    snapshot.copy(file, copy).unwrap();
                }
                let (a, b) = (newest(&copies[0]), newest(&copies[1]));
                assert!(a == b || a == b + 1, "{a} and {b}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_copy_has_what_is_only_in_the_wal() {
        let dir = tempfile::tempdir().unwrap();
        let file = store(dir.path(), "a.db");
        let writer = Connection::open(&file).unwrap();
        writer.execute("INSERT INTO t VALUES (7)", []).unwrap();
        let snapshot = Snapshot::pin(std::slice::from_ref(&file)).unwrap();
        writer.execute("INSERT INTO t VALUES (8)", []).unwrap();
        let copy = dir.path().join("copy.db");
        snapshot.copy(&file, &copy).unwrap();
        assert_eq!(newest(&copy), 7);
    }

    #[test]
    fn a_missing_or_empty_store_is_not_backed_up() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, empty) = (dir.path().join("missing.db"), dir.path().join("empty.db"));
        std::fs::write(&empty, "").unwrap();
        for file in [missing, empty] {
            assert!(Snapshot::pin(std::slice::from_ref(&file)).is_err(), "{}", file.display());
        }
    }
}
