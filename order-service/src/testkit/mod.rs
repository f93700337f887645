//! Test doubles: participants that keep books in memory, and the service put together around them on a real store.

mod books;
mod commits;
mod platform;
mod postgres;

pub(crate) use books::{Books, Fault};
pub(crate) use commits::Mark;
pub(crate) use platform::{Platform, Reply, claims, demo};
pub(crate) use postgres::Postgres;
