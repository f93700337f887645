//! The order store: orders with their lines, idempotency keys and events, in one SQL text for SQLite and PostgreSQL.
//!
//! Must not know: HTTP, gRPC, participants, how a saga runs. It only lets the caller add to its transaction
//! ([`SagaStart`](crate::ports::SagaStart)) so that an order and its saga begin together or not at all.

mod apply;
pub mod audit;
pub mod checks;
mod idempotency;
mod lines;
mod orders;
mod outbox;
mod schema;
mod sweep;
#[cfg(test)]
mod tests;

pub use apply::ApplyToOrders;
pub use orders::{SqlOrders, change_in_tx, settle_in_tx};
pub use outbox::{Subject, payload_of};
pub use schema::SCHEMA;

/// The sagas' journal: in the order store's database, so that a saga's start and end commit with what they are about.
pub type Journal = saga_engine::SqlJournal<ApplyToOrders>;
