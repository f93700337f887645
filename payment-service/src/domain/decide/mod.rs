//! What each command must do next, given what is on record. Decided again after each effect, until there is an answer.
//!
//! Must not know: how it is done.

mod charge;
mod compensate;
mod refund;
mod settlement;

use super::{Event, Payment, Refund, Settlement};

pub use charge::{ChargeNext, decide_charge};
pub use compensate::{Compensated, CompensationNext, decide_compensation};
pub use refund::{RefundAsked, decide_refund};
pub use settlement::{SettlementAsked, SettlementVerb, decide_settlement};

/// What a call that names a payment must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Record the intent, then decide again.
    Record(Event),
    /// Ask the processor about this capture or void, which may be another's that is in doubt; then decide again.
    AskSettlement(Settlement),
    /// Ask the processor for this refund, under its key.
    AskRefund(Refund),
    /// It is done: answer with the payment as it was then.
    Answer(Payment),
}
