//! Money that is held, and how the hold ends: captured, once, or voided. What is not captured is released.
//!
//! Must not know: whether it may end at the moment; that is decided in `decide::settlement`.

use amends_primitives::{Money, Timestamp};

use super::{Fingerprint, Receipt, StepKey};

/// A hold ends at the first request that the processor grants. This number may be refused, which processors hardly ever do.
pub const SETTLEMENTS_PER_PAYMENT_MAX: usize = 10;

/// Money that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// How much is held.
    pub amount: Money,
    /// The processor's reference.
    pub receipt: Receipt,
    /// When.
    pub at: Timestamp,
    /// In the order in which they were asked for. Only the last may be pending.
    pub settlements: Vec<Settlement>,
}

/// One request to end the hold: recorded before the processor is asked, so that of a capture and a void that meet one comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Names the effect.
    pub key: StepKey,
    /// Of the caller's request.
    pub fingerprint: Fingerprint,
    /// What was asked for.
    pub wanted: Wanted,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub state: SettlementState,
}

/// How a hold is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// With the money taken.
    Capture {
        /// What the caller asked for; `None` is all that was held.
        asked: Option<Money>,
        /// How much is to be taken.
        amount: Money,
    },
    /// With the money released.
    Void,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettlementState {
    /// On record; what the processor did is not known.
    Pending,
    /// It is what ended the hold.
    Done {
        /// When.
        at: Timestamp,
    },
    /// It had no effect: the processor refused, or the hold ended in the other way.
    Refused {
        /// When.
        at: Timestamp,
    },
}

impl Hold {
    /// The request of that name.
    pub fn settlement(&self, key: &StepKey) -> Option<&Settlement> {
        self.settlements.iter().find(|settlement| settlement.key == *key)
    }

    /// The request that the processor must still be asked about.
    pub fn pending(&self) -> Option<&Settlement> {
        self.settlements.iter().find(|settlement| settlement.state == SettlementState::Pending)
    }

    /// Whether `amount` can be taken of what is held.
    pub fn covers(&self, amount: Money) -> bool {
        amount.is_positive() && self.amount.checked_sub(amount).is_ok_and(|rest| rest.amount_minor() >= 0)
    }
}
