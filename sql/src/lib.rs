//! One SQL store, two dialects: pools, transactions, migrations and error classes for SQLite and PostgreSQL.
//!
//! The services' SQL is written once, in the subset both databases share (`BIGINT`, `TEXT`, `$1` placeholders, `ON CONFLICT`,
//! `RETURNING`, partial indexes); where they differ, code asks [`Database::dialect`]. See `docs/adr/0002-one-sql-two-dialects.md`.
//!
//! Must not know: any table, any service.

mod database;
mod error;
mod migrate;

pub use database::{Database, Dialect, Options, Tx, descriptors};
pub use error::SqlError;
pub use migrate::{Migration, Schema};
