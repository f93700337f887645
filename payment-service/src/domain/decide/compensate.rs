//! What compensating a charge or an authorization must do next, given what is on record under its key. It cannot be refused.
//!
//! Must not know: how it is done.

use crate::domain::{Barrier, Event, Payment, Record, Refund, RefundKey, State};

/// What compensating found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compensated {
    /// The money had been taken and has been given back now, or had been held and has been released now.
    Undone,
    /// It had been given back, or released, by an earlier call.
    AlreadyUndone,
    /// Nothing had been taken, and nothing ever will be under this key.
    NothingToUndo,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompensationNext {
    /// Record this, then decide again.
    Record(Event),
    /// The money is held, or what the processor did is in doubt: have it void the key, and learn whether the money was taken.
    Void(Payment),
    /// Ask the processor for this refund, under its key.
    AskRefund(Payment, Refund),
    /// Net zero, for good. The payment where there was one.
    Answer(Compensated, Option<Payment>),
}

/// Decides for a compensation that finds `record` under the charge's key. `undone_now` says whether this very call has seen the
/// money given back or released.
pub fn decide_compensation(record: &Record, undone_now: bool) -> CompensationNext {
    use CompensationNext as Next;
    let payment = match record {
        Record::Tombstone { .. } => return Next::Answer(Compensated::NothingToUndo, None),
        Record::Payment(payment) => payment,
    };
    // First of all: from here on no charge and no other refund begins, however late it arrives.
    if payment.barrier == Barrier::Open {
        return Next::Record(Event::BarrierClosed);
    }
    match &payment.state {
        // Also with a capture in doubt: the processor decides whether it came before the void, and says so.
        State::Pending | State::Authorized(_) => Next::Void(payment.clone()),
        State::Declined { .. } | State::Voided { hold: None } => {
            Next::Answer(Compensated::NothingToUndo, Some(payment.clone()))
        }
        State::Refunded(_) | State::Voided { hold: Some(_) } => {
            let found = if undone_now { Compensated::Undone } else { Compensated::AlreadyUndone };
            Next::Answer(found, Some(payment.clone()))
        }
        State::Captured(capture) | State::PartiallyRefunded(capture) => match capture.pending_refund() {
            // Refunds begun before the barrier closed come first: whether they happened decides how much is left.
            Some(refund) => Next::AskRefund(payment.clone(), refund.clone()),
            None => Next::Record(Event::RefundAsked {
                key: RefundKey::Undo(payment.charge.key.clone()),
                fingerprint: None,
                asked: None,
                amount: capture.left(),
            }),
        },
    }
}
