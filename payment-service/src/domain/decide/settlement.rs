//! What a capture or a void must do next, given the payment it names.
//!
//! A capture that is in doubt is asked about before a void is begun, and the other way round: which of the two came first is
//! decided by the payment's record, never by which is quicker at the processor.
//!
//! Must not know: how it is done.

use amends_primitives::{Money, PaymentId};

use super::Next;
use crate::domain::{
    Barrier, Event, Fingerprint, Hold, Payment, RefundKey, Rejection, SETTLEMENTS_PER_PAYMENT_MAX, SettlementState,
    State, Status, StepKey, Wanted,
};

/// What a capture or a void asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementAsked {
    /// Names the effect.
    pub key: StepKey,
    /// Of the caller's request.
    pub fingerprint: Fingerprint,
    /// Of what.
    pub payment_id: PaymentId,
    /// Which of the two.
    pub verb: SettlementVerb,
}

/// How a hold can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettlementVerb {
    /// So much is taken; `None` is all that is held. The rest is released.
    Capture(Option<Money>),
    /// All is released.
    Void,
}

impl SettlementVerb {
    const fn leads_to(self) -> Status {
        match self {
            Self::Capture(_) => Status::Captured,
            Self::Void => Status::Voided,
        }
    }

    fn is(self, wanted: &Wanted) -> bool {
        match (self, wanted) {
            (Self::Capture(asked), Wanted::Capture { asked: before, .. }) => asked == *before,
            (Self::Void, Wanted::Void) => true,
            (Self::Capture(_), Wanted::Void) | (Self::Void, Wanted::Capture { .. }) => false,
        }
    }
}

/// Decides for a capture or a void of `payment`.
///
/// # Errors
/// When it is refused. It then surely has no effect, or none that the compensation under way will not undo.
pub fn decide_settlement(payment: &Payment, asked: &SettlementAsked) -> Result<Next, Rejection> {
    let reused = || Rejection::StepKeyReused(asked.key.clone());
    let illegal = || Rejection::IllegalState { id: payment.id, from: payment.status(), to: asked.verb.leads_to() };
    let refund = RefundKey::Step(asked.key.clone());
    if asked.key == payment.charge.key || payment.state.capture().is_some_and(|c| c.refund(&refund).is_some()) {
        return Err(reused()); // names the charge, or a refund
    }
    if let Some(settlement) = payment.state.hold().and_then(|hold| hold.settlement(&asked.key)) {
        if settlement.fingerprint != asked.fingerprint || !asked.verb.is(&settlement.wanted) {
            return Err(reused());
        }
        match settlement.state {
            SettlementState::Done { .. } => return Ok(Next::Answer(as_settled(payment))),
            SettlementState::Refused { .. } if payment.status() == Status::Authorized => {
                return Err(Rejection::CaptureRefused(payment.id));
            }
            SettlementState::Refused { .. } => return Err(illegal()),
            SettlementState::Pending => {}
        }
    }
    let State::Authorized(hold) = &payment.state else { return Err(illegal()) };
    if let Barrier::Closed { .. } = payment.barrier {
        return Err(Rejection::StepCompensated(payment.charge.key.clone()));
    }
    match hold.pending() {
        Some(pending) => Ok(Next::AskSettlement(pending.clone())),
        None => begin(payment.id, hold, asked),
    }
}

fn begin(id: PaymentId, hold: &Hold, asked: &SettlementAsked) -> Result<Next, Rejection> {
    let wanted = match asked.verb {
        SettlementVerb::Void => Wanted::Void,
        SettlementVerb::Capture(asked) => {
            let amount = asked.unwrap_or(hold.amount);
            if amount.currency() != hold.amount.currency() {
                return Err(Rejection::OtherCurrency { asked: amount, payment: hold.amount });
            }
            if !hold.covers(amount) {
                return Err(Rejection::CaptureExceedsAuthorized { asked: amount, authorized: hold.amount });
            }
            // A void is let through all the same: a hold must be able to end.
            if hold.settlements.len() >= SETTLEMENTS_PER_PAYMENT_MAX {
                return Err(Rejection::TooManyCaptures(id));
            }
            Wanted::Capture { asked, amount }
        }
    };
    let (key, fingerprint) = (asked.key.clone(), asked.fingerprint);
    Ok(Next::Record(Event::SettlementAsked { key, fingerprint, wanted }))
}

/// As it was when the hold ended: what a repeat of the capture or the void is answered with.
fn as_settled(payment: &Payment) -> Payment {
    let ended = payment.state.hold().and_then(|hold| {
        hold.settlements.iter().find_map(|settlement| match (&settlement.wanted, settlement.state) {
            (Wanted::Void, SettlementState::Done { at }) => Some(at),
            _ => None,
        })
    });
    match ended {
        Some(at) => Payment { updated_at: at, ..payment.clone() },
        None => payment.as_captured(),
    }
}
