//! What tests compare: answers and books.

use amends::client::Answer;
use anyhow::ensure;

/// What the participants' stores say about one order: balances, not calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Books {
    /// Minor units taken, in all.
    pub captured: i64,
    /// Minor units given back, in all.
    pub refunded: i64,
    /// Payments that ever captured something.
    pub payments: usize,
    /// Reservations that hold goods.
    pub held: usize,
    /// Reservations whose goods are sold.
    pub committed: usize,
}

/// Checks status and one string of the body.
///
/// # Errors
/// Names what differs.
pub fn expect(answer: &Answer, status: u16, pointer: &str, value: &str) -> anyhow::Result<()> {
    ensure!(answer.status.as_u16() == status, "expected {status}, got {}: {}", answer.status, answer.body);
    ensure!(answer.text(pointer) == value, "expected {pointer} to be {value:?}: {}", answer.body);
    Ok(())
}

/// A fresh idempotency key.
pub fn key() -> String {
    use amends_primitives::IdSource;
    amends_primitives::RandomIds.next_id().to_string()
}
