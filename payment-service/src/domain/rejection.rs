//! Why a request is refused although everything works: it surely had no effect.
//!
//! Must not know: status codes.

use amends_primitives::{Money, PaymentId};

use super::{Status, StepKey};

/// Why the processor took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeclineReason {
    /// No reason was given.
    Declined,
    /// The customer's account does not hold enough.
    InsufficientFunds,
    /// The amount is at or above the processor's limit.
    AmountLimitExceeded,
}

amends_primitives::words!(
    DeclineReason,
    /// The name that is stored, counted and shown.
    name {
        Declined => "declined",
        InsufficientFunds => "insufficient_funds",
        AmountLimitExceeded => "amount_limit_exceeded",
    }
);

/// A refusal. Messages are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The processor refused the charge.
    #[error("{}", decline_sentence(*.reason))]
    Declined {
        /// The payment that records it.
        id: PaymentId,
        /// Why.
        reason: DeclineReason,
    },
    /// The step was compensated before: its action may not run any more.
    #[error("step {0} has been compensated: it can no longer be charged")]
    StepCompensated(StepKey),
    /// The same key, another request.
    #[error("step key {0} has been used for another request")]
    StepKeyReused(StepKey),
    /// What is asked for cannot follow from the state the payment is in.
    #[error("payment {id} is {}: it cannot become {}", .from.name(), .to.name())]
    IllegalState {
        /// The payment.
        id: PaymentId,
        /// The state it is in.
        from: Status,
        /// The state that was asked for: captured, voided or refunded.
        to: Status,
    },
    /// The processor would not take what it holds.
    #[error("the processor refused this capture of payment {0}")]
    CaptureRefused(PaymentId),
    /// The payment's record is full of refused captures.
    #[error("payment {0} has had as many captures refused as a payment may have")]
    TooManyCaptures(PaymentId),
    /// More was asked for than is held.
    #[error("a capture of {asked} was asked for, and {authorized} is authorized")]
    CaptureExceedsAuthorized {
        /// What was asked for.
        asked: Money,
        /// What is held.
        authorized: Money,
    },
    /// The processor would not give the money back.
    #[error("the processor refused this refund of payment {0}")]
    RefundRefused(PaymentId),
    /// The payment's record is full of refunds.
    #[error("payment {0} has had as many refunds as a payment may have")]
    TooManyRefunds(PaymentId),
    /// More was asked for than is left of what was captured.
    #[error("a refund of {asked} was asked for, and {left} is left of what was captured")]
    RefundExceedsCaptured {
        /// What was asked for.
        asked: Money,
        /// What is left, refunds in progress deducted.
        left: Money,
    },
    /// The refund, or the capture, names another currency than the payment.
    #[error("the payment is in {}, the amount in {}", .payment.currency(), .asked.currency())]
    OtherCurrency {
        /// What was asked for.
        asked: Money,
        /// What was captured, or is held.
        payment: Money,
    },
    /// No such payment.
    #[error("there is no payment {0}")]
    PaymentNotFound(PaymentId),
}

const fn decline_sentence(reason: DeclineReason) -> &'static str {
    match reason {
        DeclineReason::Declined => "the payment was declined",
        DeclineReason::InsufficientFunds => "the payment was declined: insufficient funds",
        DeclineReason::AmountLimitExceeded => "the payment was declined: the amount exceeds the limit",
    }
}
