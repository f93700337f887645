//! Whether the pages and indexes of a SQLite file are whole.

use std::{path::Path, sync::mpsc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// What a check came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// All that were looked at are whole.
    Whole,
    /// SQLite's own words, a line each.
    Damaged(Vec<String>),
    /// Nothing was wrong until time was up.
    Unfinished,
}

/// Complaints that are shown; a damaged page makes many.
const SHOWN_MAX: u32 = 5;

/// Without comparing indexes with their tables, for at most `bound`.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn check_quickly(file: &Path, bound: Duration) -> rusqlite::Result<Pages> {
    let connection = open(file)?;
    let (finished, wait) = mpsc::channel::<()>();
    let interrupt = connection.get_interrupt_handle();
    let watch = std::thread::spawn(move || {
        let mut next = bound;
        // Again and again: between two statements there is nothing to interrupt.
        while wait.recv_timeout(next) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
            next = Duration::from_millis(10);
        }
    });
    let checked = check(&connection, "quick_check");
    drop(finished);
    // It neither panics nor waits: it was told to end.
    let _ = watch.join();
    match checked {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Pages::Unfinished),
        checked => checked,
    }
}

/// Every page, and every index against its table.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn check_fully(file: &Path) -> rusqlite::Result<Pages> {
    check(&open(file)?, "integrity_check")
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn check(connection: &Connection, pragma: &str) -> rusqlite::Result<Pages> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}({SHOWN_MAX})"))?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(if found == ["ok"] { Pages::Whole } else { Pages::Damaged(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(rows: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let connection = Connection::open(&file).unwrap();
        connection
            .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); CREATE INDEX i ON t (name)")
            .unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO t SELECT i, printf('%080d', i) FROM n";
        connection.execute(fill, [rows]).unwrap();
        (dir, file)
    }

    #[test]
    fn a_sound_file_is_whole_by_both_checks() {
        let (_dir, file) = store(100);
        assert_eq!(check_quickly(&file, Duration::from_mins(1)).unwrap(), Pages::Whole);
        assert_eq!(check_fully(&file).unwrap(), Pages::Whole);
    }

    #[test]
    fn a_row_missing_from_an_index_is_found_by_the_full_check() {
        let (_dir, file) = store(100);
        let connection = Connection::open(&file).unwrap();
        // A row that no index knows, as after a page was lost.
        let make = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL, type = 'gone' WHERE name = 'no'; \
                    CREATE TEMP TABLE keep AS SELECT rootpage FROM sqlite_schema WHERE name = 'i'; \
                    DELETE FROM sqlite_schema WHERE name = 'i';";
        connection.execute_batch(make).unwrap();
        drop(connection);
        let connection = Connection::open(&file).unwrap();
        connection.execute("INSERT INTO t VALUES (1000, 'unknown to the index')", []).unwrap();
        let found = check_fully(&file).unwrap();
        assert!(matches!(&found, Pages::Damaged(lines) if !lines.is_empty()), "{found:?}");
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        std::fs::write(&file, "not a database, but longer than the hundred bytes that a header has".repeat(3)).unwrap();
        let error = check_quickly(&file, Duration::from_mins(1)).unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
    }

    #[test]
    fn a_check_that_takes_too_long_is_left() {
        let (_dir, file) = store(400_000);
        assert_eq!(check_quickly(&file, Duration::ZERO).unwrap(), Pages::Unfinished);
    }
}
