//! The steps, one a file: an action and its compensation beside each other.

mod charge_payment;
mod commit_stock;
mod confirm_order;
mod mark_cancelled;
mod mark_cancelling;
mod refund_payment;
mod reserve_stock;
mod restock;

pub use charge_payment::ChargePayment;
pub use commit_stock::CommitStock;
pub use confirm_order::ConfirmOrder;
pub use mark_cancelled::MarkCancelled;
pub use mark_cancelling::MarkCancelling;
pub use refund_payment::RefundPayment;
pub use reserve_stock::ReserveStock;
pub use restock::Restock;

/// What a saga's state lacks, though an earlier step records it. Cannot be: steps run in order, and their outputs are journaled. It
/// is answered as "not known", never as a refusal, because nothing may be concluded from a broken state.
fn missing(what: &'static str) -> saga_engine::Cause {
    saga_engine::Cause::permanent("missing_output", format!("the saga's state has no {what}"))
}
