//! One SQL store, two dialects: pools, transactions, migrations and error classes for SQLite and PostgreSQL.
//!
//! The services' SQL is written once, in the subset both databases share (`BIGINT`, `TEXT`, `$1` placeholders, `ON CONFLICT`,
//! `RETURNING`, partial indexes); where they differ, code asks [`Database::dialect`]. See `docs/adr/0002-one-sql-two-dialects.md`.
//!
//! A machine that misbehaves (a full disk, a file that turns read-only, one failed write) costs the calls that meet it, and no more:
//! see `docs/adr/0010-when-a-store-cannot-write.md`.
//!
//! Must not know: any table, any service.

mod check;
pub mod checks;
pub mod claim;
mod classes;
mod connection;
mod counters;
mod database;
mod error;
mod fault;
pub mod group;
mod health;
pub mod lock;
mod migrate;
mod path;
mod pool;
mod promises;
mod ready;
mod spans;
mod sqlite;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(test)]
mod tests;
mod transaction;

pub use check::Checked;
pub use connection::Connection;
pub use counters::{Counts, Operation, Teller};
pub use database::{Database, Dialect, Options, descriptors};
pub use error::{SqlError, in_words};
pub use fault::FileFault;
pub use migrate::{Migration, Schema};
pub use path::sqlite_url;
pub use pool::Pool;
pub use transaction::Tx;
