//! The order store: orders, lines, idempotency keys and outbox, in one SQL text for SQLite and PostgreSQL.
//!
//! Must not know: HTTP, gRPC, participants, how a saga runs. It only lets somebody add to its transaction
//! ([`SagaStart`](crate::ports::SagaStart)) so that an order and its saga begin together or not at all.

pub mod audit;
pub mod checks;
mod idempotency;
mod orders;
mod outbox;
mod schema;
mod sweep;
#[cfg(test)]
mod tests;

pub use orders::{SqlOrders, change_in_tx};
pub use outbox::{Subject, payload_of};
pub use schema::SCHEMA;
pub use sweep::Swept;
