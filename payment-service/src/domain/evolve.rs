//! How a payment changes: the only place where one does. No rules but those that keep it consistent; what may be asked for is decided
//! in `decide`.

use amends_primitives::{PaymentId, Timestamp};

use super::{
    Barrier, Capture, Event, Hold, Mode, Payment, Refund, RefundKey, RefundState, Settlement, SettlementState, State,
    Status, Wanted,
};

/// A transition that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payment {id} is {}: it cannot become {to}", .from.name())]
pub struct IllegalTransition {
    /// The payment.
    pub id: PaymentId,
    /// Its state.
    pub from: Status,
    /// The state it was to have.
    pub to: &'static str,
}

/// The payment after `event`.
///
/// # Errors
/// When there is no such transition.
pub fn evolve(payment: &Payment, event: &Event, now: Timestamp) -> Result<Payment, IllegalTransition> {
    let illegal = || IllegalTransition { id: payment.id, from: payment.status(), to: event.name() };
    let mut next = Payment { updated_at: now, version: payment.version + 1, ..payment.clone() };
    match (&payment.state, event) {
        (State::Pending, Event::Captured { amount, receipt }) if payment.charge.mode == Mode::Charge => {
            next.state = State::Captured(Capture {
                amount: *amount,
                receipt: receipt.clone(),
                at: now,
                refunds: Vec::new(),
                hold: None,
            });
        }
        (State::Pending, Event::Authorized { amount, receipt }) if payment.charge.mode == Mode::Authorize => {
            next.state =
                State::Authorized(Hold { amount: *amount, receipt: receipt.clone(), at: now, settlements: Vec::new() });
        }
        (State::Pending, Event::Declined { reason }) => next.state = State::Declined { reason: *reason },
        (State::Pending, Event::Voided) => next.state = State::Voided { hold: None },
        (_, Event::BarrierClosed) => match payment.barrier {
            Barrier::Open => next.barrier = Barrier::Closed { at: now },
            Barrier::Closed { .. } => return Err(illegal()),
        },
        (State::Authorized(hold), settlement_event) => {
            next.state = evolve_hold(hold, settlement_event, now).ok_or_else(illegal)?;
        }
        (State::Captured(capture) | State::PartiallyRefunded(capture), refund_event) => {
            next.state = evolve_capture(capture, refund_event, now).ok_or_else(illegal)?.into();
        }
        _ => return Err(illegal()),
    }
    Ok(next)
}

/// The state after what happened to the hold; `None` where there is no such transition.
fn evolve_hold(hold: &Hold, event: &Event, now: Timestamp) -> Option<State> {
    match event {
        Event::SettlementAsked { key, fingerprint, wanted } => {
            let fits = match wanted {
                Wanted::Capture { amount, .. } => hold.covers(*amount),
                Wanted::Void => true,
            };
            if !fits || hold.pending().is_some() || hold.settlement(key).is_some() {
                return None;
            }
            let (key, state) = (key.clone(), SettlementState::Pending);
            let mut next = hold.clone();
            next.settlements.push(Settlement {
                key,
                fingerprint: *fingerprint,
                wanted: wanted.clone(),
                at: now,
                state,
            });
            Some(State::Authorized(next))
        }
        Event::CaptureRefused { key } => {
            let pending = hold.pending()?;
            let is_this = pending.key == *key && pending.wanted != Wanted::Void;
            is_this.then(|| State::Authorized(settled(hold, now, |_| false)))
        }
        // Also where no capture is pending: it is the processor's word, and a compensation has to know what to give back.
        Event::Captured { amount, receipt } if hold.covers(*amount) => Some(State::Captured(Capture {
            amount: *amount,
            receipt: receipt.clone(),
            at: now,
            refunds: Vec::new(),
            hold: Some(settled(hold, now, |wanted| *wanted != Wanted::Void)),
        })),
        Event::Voided => Some(State::Voided { hold: Some(settled(hold, now, |wanted| *wanted == Wanted::Void)) }),
        Event::Authorized { .. }
        | Event::Captured { .. }
        | Event::Declined { .. }
        | Event::BarrierClosed
        | Event::RefundAsked { .. }
        | Event::RefundDone { .. }
        | Event::RefundRefused { .. } => None,
    }
}

/// With nothing pending: what is, was granted or not.
fn settled(hold: &Hold, now: Timestamp, granted: impl Fn(&Wanted) -> bool) -> Hold {
    let mut next = hold.clone();
    for settlement in next.settlements.iter_mut().filter(|settlement| settlement.state == SettlementState::Pending) {
        let done = granted(&settlement.wanted);
        settlement.state = if done { SettlementState::Done { at: now } } else { SettlementState::Refused { at: now } };
    }
    next
}

/// The capture after what happened to one of its refunds; `None` where there is no such transition.
fn evolve_capture(capture: &Capture, event: &Event, now: Timestamp) -> Option<Capture> {
    let mut next = capture.clone();
    match event {
        Event::RefundAsked { key, fingerprint, asked, amount } => {
            let fits =
                amount.is_positive() && capture.left().checked_sub(*amount).is_ok_and(|left| left.amount_minor() >= 0);
            if !fits || capture.refund(key).is_some() {
                return None;
            }
            let (key, state) = (key.clone(), RefundState::Pending);
            next.refunds.push(Refund {
                key,
                fingerprint: *fingerprint,
                asked: *asked,
                amount: *amount,
                at: now,
                state,
            });
        }
        Event::RefundDone { key, receipt } => {
            let refund = pending_mut(&mut next, key)?;
            let refunded_after = capture.refunded().checked_add(refund.amount).ok()?;
            refund.state = RefundState::Done { receipt: receipt.clone(), at: now, refunded_after };
        }
        Event::RefundRefused { key } => pending_mut(&mut next, key)?.state = RefundState::Refused { at: now },
        Event::Authorized { .. }
        | Event::SettlementAsked { .. }
        | Event::CaptureRefused { .. }
        | Event::Captured { .. }
        | Event::Declined { .. }
        | Event::Voided
        | Event::BarrierClosed => return None,
    }
    Some(next)
}

fn pending_mut<'a>(capture: &'a mut Capture, key: &RefundKey) -> Option<&'a mut Refund> {
    capture.refunds.iter_mut().find(|refund| refund.key == *key && refund.state == RefundState::Pending)
}
