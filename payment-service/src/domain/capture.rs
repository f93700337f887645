//! Money that was taken, and what was given back of it: never more.
//!
//! Must not know: whether it may be given back at the moment; that is the payment's barrier.

use amends_primitives::{Money, Timestamp};

use super::{Fingerprint, Hold, Receipt, RefundKey};

/// Refunds live inside the payment's document, which is read and written whole: 100 keep it below 32 KiB.
pub const REFUNDS_PER_PAYMENT_MAX: usize = 100;

/// Money that was taken, and what was given back of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// How much was taken.
    pub amount: Money,
    /// The processor's reference.
    pub receipt: Receipt,
    /// When.
    pub at: Timestamp,
    /// In the order in which they were asked for.
    pub refunds: Vec<Refund>,
    /// What had been held before, where the money was authorized first.
    pub hold: Option<Hold>,
}

/// One refund: recorded before the processor is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Names the effect.
    pub key: RefundKey,
    /// Of the caller's request; absent for a compensation, which is named by the charge alone.
    pub fingerprint: Option<Fingerprint>,
    /// What the caller asked for; `None` is all that was left.
    pub asked: Option<Money>,
    /// How much is to be given back.
    pub amount: Money,
    /// When it was asked for.
    pub at: Timestamp,
    /// What became of it.
    pub state: RefundState,
}

/// What became of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// On record; what the processor did is not known. Its amount is set aside.
    Pending,
    /// Given back.
    Done {
        /// The processor's reference.
        receipt: Receipt,
        /// When.
        at: Timestamp,
        /// What had been given back in all after this one: a repeat is answered with what was true then.
        refunded_after: Money,
    },
    /// The processor refused: nothing was given back.
    Refused {
        /// When.
        at: Timestamp,
    },
}

impl Capture {
    /// What was given back, in all.
    pub fn refunded(&self) -> Money {
        self.total(|state| matches!(state, RefundState::Done { .. }))
    }

    /// What may still be given back: refunds in progress have set their amounts aside.
    pub fn left(&self) -> Money {
        let spoken_for = self.total(|state| !matches!(state, RefundState::Refused { .. }));
        Money::new(self.amount.amount_minor().saturating_sub(spoken_for.amount_minor()), self.amount.currency())
    }

    /// The refund of that name.
    pub fn refund(&self, key: &RefundKey) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.key == *key)
    }

    /// A refund the processor must still be asked about.
    pub fn pending_refund(&self) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.state == RefundState::Pending)
    }

    fn total(&self, counts: impl Fn(&RefundState) -> bool) -> Money {
        // Each amount is positive and their sum never exceeds `amount`, so this cannot saturate.
        let minor =
            self.refunds.iter().filter(|refund| counts(&refund.state)).map(|refund| refund.amount.amount_minor());
        Money::new(minor.fold(0, i64::saturating_add), self.amount.currency())
    }
}
