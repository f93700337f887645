//! One payment: what was asked for, its state, its barrier. `apply` is the only place where a payment changes.
//!
//! Must not know: callers, processors, stores.

use amends_primitives::{Money, OrderId, PaymentId, Timestamp};

use super::{
    Capture, CustomerId, DeclineReason, Fingerprint, Hold, PaymentMethod, Receipt, Refund, RefundKey, RefundState,
    Status, StepKey, Wanted,
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

/// A state owns only its own data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The intent is on record; what the processor did is not known.
    Pending,
    /// The money is held.
    Authorized(Hold),
    /// The money was taken.
    Captured(Capture),
    /// A part of it was given back.
    PartiallyRefunded(Capture),
    /// All of it was given back.
    Refunded(Capture),
    /// The processor refused: nothing was taken.
    Declined {
        /// Why.
        reason: DeclineReason,
    },
    /// The processor has confirmed that nothing was taken under the key and nothing ever will be.
    Voided {
        /// What had been held, where it had been.
        hold: Option<Hold>,
    },
}

/// What may happen to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The processor holds the money.
    Authorized {
        /// How much.
        amount: Money,
        /// Its reference.
        receipt: Receipt,
    },
    /// What is held was asked to be captured or voided. Whether it may be is decided before, by
    /// [`next_for_ending`](super::next_for_ending).
    EndingAsked {
        /// Names it.
        key: StepKey,
        /// Of the request.
        fingerprint: Fingerprint,
        /// Which of the two.
        wanted: Wanted,
    },
    /// The processor would not capture.
    CaptureRefused {
        /// Which request.
        key: StepKey,
    },
    /// The processor took the money.
    Captured {
        /// How much.
        amount: Money,
        /// Its reference.
        receipt: Receipt,
    },
    /// The processor refused.
    Declined {
        /// Why.
        reason: DeclineReason,
    },
    /// The processor confirmed that nothing was or will be taken.
    Voided,
    /// The charge's step was compensated.
    BarrierClosed,
    /// A refund was asked for. Whether it may be is decided before, by [`next_for_refund`](super::next_for_refund).
    RefundAsked {
        /// Names it.
        key: RefundKey,
        /// Of the request.
        fingerprint: Option<Fingerprint>,
        /// What was asked for.
        asked: Option<Money>,
        /// How much that is.
        amount: Money,
    },
    /// The processor gave the money back.
    RefundDone {
        /// Which refund.
        key: RefundKey,
        /// The processor's reference.
        receipt: Receipt,
    },
    /// The processor would not.
    RefundRefused {
        /// Which refund.
        key: RefundKey,
    },
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Authorized { .. } => "authorized",
            Self::EndingAsked { wanted: Wanted::Capture { .. }, .. } => "capturing",
            Self::EndingAsked { wanted: Wanted::Void, .. } => "voiding",
            Self::CaptureRefused { .. } => "not captured",
            Self::Captured { .. } => "captured",
            Self::Declined { .. } => "declined",
            Self::Voided => "voided",
            Self::BarrierClosed => "compensated",
            Self::RefundAsked { .. } => "refunding",
            Self::RefundDone { .. } => "refunded",
            Self::RefundRefused { .. } => "not refunded",
        }
    }
}

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

impl State {
    /// Its name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Authorized(_) => Status::Authorized,
            Self::Captured(_) => Status::Captured,
            Self::PartiallyRefunded(_) => Status::PartiallyRefunded,
            Self::Refunded(_) => Status::Refunded,
            Self::Declined { .. } => Status::Declined,
            Self::Voided { .. } => Status::Voided,
        }
    }

    /// The capture, where money was taken.
    pub const fn capture(&self) -> Option<&Capture> {
        match self {
            Self::Captured(capture) | Self::PartiallyRefunded(capture) | Self::Refunded(capture) => Some(capture),
            Self::Pending | Self::Authorized(_) | Self::Declined { .. } | Self::Voided { .. } => None,
        }
    }

    /// What is or was held, where it was.
    pub const fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Authorized(hold) => Some(hold),
            Self::Captured(capture) | Self::PartiallyRefunded(capture) | Self::Refunded(capture) => {
                capture.hold.as_ref()
            }
            Self::Voided { hold } => hold.as_ref(),
            Self::Pending | Self::Declined { .. } => None,
        }
    }
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

    /// The payment after `event`.
    ///
    /// # Errors
    /// When there is no such transition.
    pub fn apply(&self, event: &Event, now: Timestamp) -> Result<Self, IllegalTransition> {
        let illegal = || IllegalTransition { id: self.id, from: self.status(), to: event.name() };
        let mut next = Self { updated_at: now, version: self.version + 1, ..self.clone() };
        match (&self.state, event) {
            (State::Pending, Event::Captured { amount, receipt }) if self.charge.mode == Mode::Charge => {
                next.state = State::Captured(Capture {
                    amount: *amount,
                    receipt: receipt.clone(),
                    at: now,
                    refunds: Vec::new(),
                    hold: None,
                });
            }
            (State::Pending, Event::Authorized { amount, receipt }) if self.charge.mode == Mode::Authorize => {
                next.state =
                    State::Authorized(Hold { amount: *amount, receipt: receipt.clone(), at: now, endings: Vec::new() });
            }
            (State::Pending, Event::Declined { reason }) => next.state = State::Declined { reason: *reason },
            (State::Pending, Event::Voided) => next.state = State::Voided { hold: None },
            (_, Event::BarrierClosed) => match self.barrier {
                Barrier::Open => next.barrier = Barrier::Closed { at: now },
                Barrier::Closed { .. } => return Err(illegal()),
            },
            (State::Authorized(hold), ending_event) => {
                next.state = hold.apply(ending_event, now).ok_or_else(illegal)?;
            }
            (State::Captured(capture) | State::PartiallyRefunded(capture), refund_event) => {
                next.state = capture.apply(refund_event, now).ok_or_else(illegal)?.into_state();
            }
            _ => return Err(illegal()),
        }
        Ok(next)
    }

    /// As it was when it was authorized: what a repeat of the authorization is answered with, whatever happened since.
    #[must_use]
    pub fn as_authorized(&self) -> Self {
        match self.state.hold() {
            Some(hold) => {
                let state = State::Authorized(Hold { endings: Vec::new(), ..hold.clone() });
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
        let state = Capture { refunds, ..capture.clone() }.into_state();
        Self { state, updated_at: *at, ..self.clone() }
    }
}
