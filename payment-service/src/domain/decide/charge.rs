//! What a charge or an authorization must do next, given what is on record under its key.
//!
//! Must not know: how it is done.

use crate::domain::{Barrier, Charge, Payment, Record, Rejection, State};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeNext {
    /// Ask the processor, under the charge's key: the first time, or again because the last outcome is in doubt.
    AskProcessor(Payment),
    /// It is done: answer with the payment as it was captured, or authorized.
    Answer(Payment),
}

/// Decides for a charge or an authorization that finds `record` under its key.
///
/// # Errors
/// When the charge is refused. It then surely has no effect, or none that the compensation under way will not undo.
pub fn decide_charge(record: &Record, asked: &Charge) -> Result<ChargeNext, Rejection> {
    let payment = match record {
        Record::Tombstone { key, .. } => return Err(Rejection::StepCompensated(key.clone())),
        Record::Payment(payment) => payment,
    };
    // Field by field as well: a caller that computes its fingerprint wrongly must not get the answer to another request.
    if payment.charge != *asked {
        return Err(Rejection::StepKeyReused(asked.key.clone()));
    }
    if let Barrier::Closed { .. } = payment.barrier {
        return Err(Rejection::StepCompensated(asked.key.clone()));
    }
    match &payment.state {
        State::Pending => Ok(ChargeNext::AskProcessor(payment.clone())),
        // Whatever has been done with it since, it was authorized.
        state if state.hold().is_some() => Ok(ChargeNext::Answer(payment.as_authorized())),
        State::Authorized(_) | State::Captured(_) | State::PartiallyRefunded(_) | State::Refunded(_) => {
            Ok(ChargeNext::Answer(payment.as_captured()))
        }
        State::Declined { reason } => Err(Rejection::Declined { id: payment.id, reason: *reason }),
        State::Voided { .. } => Err(Rejection::StepCompensated(asked.key.clone())),
    }
}
