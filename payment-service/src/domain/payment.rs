//! One payment: what was asked for, its state, its barrier.
//!
//! Must not know: what may happen to it (`decide`), how it changes (`evolve`); callers, processors, stores.

use amends_primitives::{Money, OrderId, PaymentId, Timestamp};

use super::{
    Capture, CustomerId, Fingerprint, Hold, PaymentMethod, Refund, RefundKey, RefundState, State, Status, StepKey,
};

/// Whether the money is taken at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is.
    #[default]
    Charge,
    /// It is held, until it is captured or voided.
    Authorize,
}

/// What a charge or an authorization asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Names the effect.
    pub key: StepKey,
    /// Of the caller's request.
    pub fingerprint: Fingerprint,
    /// What is paid for.
    pub order_id: OrderId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// How much; more than zero.
    pub amount: Money,
    /// With what.
    pub method: PaymentMethod,
    /// Whether the money is taken at once.
    pub mode: Mode,
}

/// Everything that is known under one step key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time is in hand, and nearly all are payments")]
pub enum Record {
    /// The key was compensated before any charge or authorization came. It never will be charged.
    Tombstone {
        /// The key of what must not happen.
        key: StepKey,
        /// Since when.
        at: Timestamp,
        /// Reserved and never used, so that every record has one and the index on it need not be partial.
        id: PaymentId,
    },
    /// It was asked for.
    Payment(Payment),
}

impl Record {
    /// The step key of the charge.
    pub const fn key(&self) -> &StepKey {
        match self {
            Self::Tombstone { key, .. } => key,
            Self::Payment(payment) => &payment.charge.key,
        }
    }
}

/// One payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Made when the charge was first asked for.
    pub id: PaymentId,
    /// What was asked for.
    pub charge: Charge,
    /// What became of it.
    pub state: State,
    /// Whether actions may still pass.
    pub barrier: Barrier,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1: what a compare-and-set compares.
    pub version: i64,
}

/// Whether the step's action may still pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// It may.
    Open,
    /// The step was compensated: it may not take effect.
    Closed {
        /// Since when.
        at: Timestamp,
    },
}

impl Payment {
    /// The intent, which is recorded before the processor is asked.
    pub const fn intended(id: PaymentId, charge: Charge, now: Timestamp) -> Self {
        let (state, barrier) = (State::Pending, Barrier::Open);
        Self { id, charge, state, barrier, created_at: now, updated_at: now, version: 1 }
    }

    /// The name of its state.
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// What was taken, in all.
    pub fn captured(&self) -> Money {
        self.state.capture().map_or_else(|| Money::zero(self.charge.amount.currency()), |capture| capture.amount)
    }

    /// What was given back, in all.
    pub fn refunded(&self) -> Money {
        self.state.capture().map_or_else(|| Money::zero(self.charge.amount.currency()), Capture::refunded)
    }

    /// What is held and may still be captured.
    pub const fn capturable(&self) -> Money {
        match &self.state {
            State::Authorized(hold) => hold.amount,
            _ => Money::zero(self.charge.amount.currency()),
        }
    }

    /// As it was when it was authorized: what a repeat of the authorization is answered with, whatever happened since.
    #[must_use]
    pub fn as_authorized(&self) -> Self {
        match self.state.hold() {
            Some(hold) => {
                let state = State::Authorized(Hold { settlements: Vec::new(), ..hold.clone() });
                Self { state, updated_at: hold.at, ..self.clone() }
            }
            None => self.clone(),
        }
    }

    /// As it was when it was captured: what a repeat of the charge, or of the capture, is answered with, whatever happened since.
    #[must_use]
    pub fn as_captured(&self) -> Self {
        match self.state.capture() {
            Some(capture) => {
                let state = State::Captured(Capture { refunds: Vec::new(), ..capture.clone() });
                Self { state, updated_at: capture.at, ..self.clone() }
            }
            None => self.clone(),
        }
    }

    /// As it was when the refund was done: what a repeat of that refund is answered with.
    #[must_use]
    pub fn as_refunded_by(&self, key: &RefundKey) -> Self {
        let Some((capture, Some(RefundState::Done { at, refunded_after, .. }))) =
            self.state.capture().map(|capture| (capture, capture.refund(key).map(|refund| &refund.state)))
        else {
            return self.clone();
        };
        let done_by_then = |refund: &&Refund| match &refund.state {
            RefundState::Done { refunded_after: after, .. } => after.amount_minor() <= refunded_after.amount_minor(),
            RefundState::Pending | RefundState::Refused { .. } => false,
        };
        let refunds = capture.refunds.iter().filter(done_by_then).cloned().collect();
        let state = Capture { refunds, ..capture.clone() }.into();
        Self { state, updated_at: *at, ..self.clone() }
    }
}
