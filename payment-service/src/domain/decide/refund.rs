//! What a refund must do next, given the payment it names.
//!
//! Must not know: how it is done.

use amends_primitives::{Money, PaymentId};

use super::Next;
use crate::domain::{
    Barrier, Event, Fingerprint, Payment, REFUNDS_PER_PAYMENT_MAX, RefundKey, RefundState, Rejection, Status, StepKey,
};

/// What a refund asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsked {
    /// Names the effect.
    pub key: StepKey,
    /// Of the caller's request.
    pub fingerprint: Fingerprint,
    /// Of what.
    pub payment_id: PaymentId,
    /// How much; `None` is all that is left.
    pub amount: Option<Money>,
}

/// Decides for a refund of `payment`.
///
/// # Errors
/// When the refund is refused: nothing was given back under its key.
pub fn decide_refund(payment: &Payment, asked: &RefundAsked) -> Result<Next, Rejection> {
    let key = RefundKey::Step(asked.key.clone());
    let reused = || Rejection::StepKeyReused(asked.key.clone());
    if asked.key == payment.charge.key || payment.state.hold().is_some_and(|hold| hold.settlement(&asked.key).is_some())
    {
        return Err(reused()); // names the charge, or how what was held ended
    }
    if let Some(refund) = payment.state.capture().and_then(|capture| capture.refund(&key)) {
        if refund.fingerprint != Some(asked.fingerprint) || refund.asked != asked.amount {
            return Err(reused());
        }
        return match refund.state {
            RefundState::Pending => Ok(Next::AskRefund(refund.clone())),
            RefundState::Done { .. } => Ok(Next::Answer(payment.as_refunded_by(&key))),
            RefundState::Refused { .. } => Err(Rejection::RefundRefused(payment.id)),
        };
    }
    let not_refundable = |to| Rejection::IllegalState { id: payment.id, from: payment.status(), to };
    let Some(capture) = payment.state.capture() else { return Err(not_refundable(Status::Refunded)) };
    if let Some(amount) = asked.amount.filter(|amount| amount.currency() != capture.amount.currency()) {
        return Err(Rejection::OtherCurrency { asked: amount, payment: capture.amount });
    }
    let left = capture.left();
    let amount = asked.amount.unwrap_or(left);
    if !left.is_positive() && asked.amount.is_none() || matches!(payment.barrier, Barrier::Closed { .. }) {
        return Err(not_refundable(Status::Refunded));
    }
    if amount.amount_minor() > left.amount_minor() {
        return Err(Rejection::RefundExceedsCaptured { asked: amount, left });
    }
    if capture.refunds.len() >= REFUNDS_PER_PAYMENT_MAX {
        return Err(Rejection::TooManyRefunds(payment.id));
    }
    // From here on the intent may be recorded: the amount is positive, in the right currency, and not spoken for.
    Ok(Next::Record(Event::RefundAsked { key, fingerprint: Some(asked.fingerprint), asked: asked.amount, amount }))
}
