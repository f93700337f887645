//! SQLite by `rusqlite`, for statements that are written for sqlx's `Any`: see `docs/adr/0020-sqlite-on-the-thread-that-asks.md`.
//!
//! A statement takes microseconds and a commit waits for the disk, so it matters on which thread they run. A thread that may wait for a
//! disk runs them itself: the one that writes a store's batches does, and hands nothing over between `BEGIN` and `COMMIT`. All other
//! callers are on threads of the runtime, which must not wait, and have each statement run by a thread that may.
//!
//! Must not know: any table.

mod error;
mod pool;
mod session;
#[cfg(test)]
mod tests;
mod threads;
mod values;

pub(crate) use error::DriverError;
pub(crate) use pool::{Files, Held};
pub(crate) use session::{Opening, Outcome, Statement, Wanted};
pub(crate) use threads::spawn_writer;
