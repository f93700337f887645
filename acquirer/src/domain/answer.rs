//! What the merchant may ask, and what it may be answered.
//!
//! Must not know: status codes.

use amends_primitives::Money;

use super::{Key, Method};

/// Asks for money: to take it, or to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeAsk {
    /// The idempotency key: asking twice with it never charges twice.
    pub key: Key,
    /// Whether the money is to be held and not taken.
    pub hold: bool,
    /// How much.
    pub amount: Money,
    /// From what.
    pub method: Method,
}

/// Asks to take what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureAsk {
    /// The idempotency key.
    pub key: Key,
    /// The key of the authorization.
    pub authorization: Key,
    /// How much; the rest is released.
    pub amount: Money,
}

/// Asks to give money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    /// The idempotency key.
    pub key: Key,
    /// The key of the charge or the authorization.
    pub charge: Key,
    /// How much.
    pub amount: Money,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decline {
    /// No reason is given.
    Declined,
    /// The account does not hold enough.
    InsufficientFunds,
    /// The amount is at or above the limit.
    AmountLimitExceeded,
}

amends_primitives::words!(
    Decline,
    /// The code that is stored and told.
    code {
        Declined => "declined",
        InsufficientFunds => "insufficient_funds",
        AmountLimitExceeded => "amount_limit_exceeded",
    }
);

/// The answer to a charge or an authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charged {
    /// The money is, or was, held (an authorization) or taken (a charge).
    Granted {
        /// How much.
        amount: Money,
        /// Our reference.
        receipt: String,
    },
    /// Nothing was taken.
    Declined(Decline),
    /// The key was voided before: nothing was taken, and nothing will be.
    KeyVoided,
    /// The key was used for another request.
    KeyReused,
    /// It failed this time, without effect. The same key may work later.
    Failed,
}

/// The answer to a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Captured {
    /// The money was taken.
    Done {
        /// How much.
        amount: Money,
        /// Our reference.
        receipt: String,
    },
    /// Nothing was taken.
    Refused,
    /// The authorization was voided before.
    KeyVoided,
    /// The key was used for another request.
    KeyReused,
}

/// The answer to voiding a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voided {
    /// Nothing was taken under the key, and nothing ever will be; what was held is released.
    Done,
    /// Too late.
    WasCaptured {
        /// How much.
        amount: Money,
        /// Our reference.
        receipt: String,
    },
    /// It had been declined.
    WasDeclined(Decline),
}

/// The answer to a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refunded {
    /// The money was given back.
    Done {
        /// Our reference.
        receipt: String,
    },
    /// Nothing was given back.
    Refused,
    /// The key was used for another request.
    KeyReused,
}
