//! What may happen to a payment.
//!
//! Must not know: when it may; that is decided in `decide`.

use amends_primitives::Money;

use super::{DeclineReason, Fingerprint, Receipt, RefundKey, StepKey, Wanted};

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
    /// [`decide_settlement`](super::decide_settlement).
    SettlementAsked {
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
    /// A refund was asked for. Whether it may be is decided before, by [`decide_refund`](super::decide_refund).
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
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Authorized { .. } => "authorized",
            Self::SettlementAsked { wanted: Wanted::Capture { .. }, .. } => "capturing",
            Self::SettlementAsked { wanted: Wanted::Void, .. } => "voiding",
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
