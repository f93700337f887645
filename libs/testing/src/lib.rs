//! What the tests of every crate need around the code they test: the servers there are, a database of each test's own, an issuer of
//! tokens. For tests only: nothing that is delivered depends on it.
//!
//! Must not know: any service, and what is above `sql`.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod database;
mod issuer;
mod servers;

pub use database::{TestDatabase, sqlite_url};
pub use issuer::Issuer;
pub use servers::{mongodb, postgres, redis};
