//! For tests: a SQLite store whose disk fills up, or turns read-only, on request. The errors are SQLite's own.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Connection, Database};

const NEVER: u8 = 0;
const WELL: u8 = 1;
const FULL: u8 = 2;
const READ_ONLY: u8 = 3;

/// What is done to connections as they are taken from their pool.
#[derive(Debug, Default)]
pub(crate) struct StoreFault(AtomicU8);

impl StoreFault {
    pub(crate) async fn apply(&self, mut connection: Connection) -> Result<Connection, sqlx::Error> {
        let sql = match self.0.load(Ordering::SeqCst) {
            // A file may not shrink below its size: the smallest limit is "no larger than now".
            FULL => "PRAGMA max_page_count = 1; PRAGMA query_only = 0",
            READ_ONLY => "PRAGMA query_only = 1",
            WELL => "PRAGMA max_page_count = 1073741823; PRAGMA query_only = 0",
            _ => return Ok(connection),
        };
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        Ok(connection)
    }
}

impl Database {
    fn set(&self, store_fault: u8) {
        self.writer().store_fault.0.store(store_fault, Ordering::SeqCst);
    }

    /// From now on the file does not grow: what needs room fails with SQLite's `SQLITE_FULL`, as on a full disk.
    pub fn fill_up(&self) {
        self.set(FULL);
    }

    /// From now on every write is refused, with SQLite's `SQLITE_READONLY`.
    pub fn turn_read_only(&self) {
        self.set(READ_ONLY);
    }

    /// All is well again.
    pub fn repair(&self) {
        if self.writer().store_fault.0.load(Ordering::SeqCst) != NEVER {
            self.set(WELL);
        }
    }
}
