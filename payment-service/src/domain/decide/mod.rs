//! What each command must do next, given what is on record. Decided again after each effect, until there is an answer.
//!
//! Must not know: how it is done.

mod charge;
mod compensate;
mod ending;
mod refund;

use super::{Ending, Event, Payment, Refund};

pub use charge::{ChargeNext, decide_charge};
pub use compensate::{Compensated, CompensationNext, decide_compensation};
pub use ending::{EndingAsked, EndingVerb, decide_ending};
pub use refund::{RefundAsked, decide_refund};

/// What a call that names a payment must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Record the intent, then decide again.
    Record(Event),
    /// Ask the processor about this capture or void, which may be another's that is in doubt; then decide again.
    AskEnding(Ending),
    /// Ask the processor for this refund, under its key.
    AskRefund(Refund),
    /// It is done: answer with the payment as it was then.
    Answer(Payment),
}
