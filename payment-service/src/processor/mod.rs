//! The port to the processor that moves the money. Three outcomes, not two: a timeout is not a "no".
//!
//! Must not know: which processor it is, how payments are kept.

use std::time::Duration;

use amends_primitives::Money;
use async_trait::async_trait;

use crate::domain::{DeclineReason, PaymentMethod, Receipt, RefundKey, StepKey};

pub mod http;
pub mod simulated;

/// Asks for money: to take it, or to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeAsk {
    /// The idempotency key: asking twice with it never charges twice.
    pub key: StepKey,
    /// How much.
    pub amount: Money,
    /// From what.
    pub method: PaymentMethod,
}

/// How a charge ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The money was taken.
    Captured {
        /// How much.
        amount: Money,
        /// The processor's reference.
        receipt: Receipt,
    },
    /// Surely nothing was taken.
    Declined(DeclineReason),
    /// The key was voided before: nothing was taken, and nothing will be.
    KeyVoided,
    /// In doubt. Ask again with the same key.
    Unknown(Unknown),
}

/// How an authorization ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizeOutcome {
    /// The money is, or at least was, held.
    Authorized {
        /// How much.
        amount: Money,
        /// The processor's reference.
        receipt: Receipt,
    },
    /// Surely nothing is held.
    Declined(DeclineReason),
    /// The key was voided before: nothing is held, and nothing will be.
    KeyVoided,
    /// In doubt. Ask again with the same key.
    Unknown(Unknown),
}

/// Asks to take what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureAsk {
    /// The idempotency key: asking twice with it never captures twice.
    pub key: StepKey,
    /// The key of the authorization.
    pub authorization: StepKey,
    /// How much; the rest is released.
    pub amount: Money,
}

/// How a capture ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureOutcome {
    /// The money was taken.
    Captured {
        /// How much.
        amount: Money,
        /// The processor's reference.
        receipt: Receipt,
    },
    /// Surely nothing was taken.
    Refused,
    /// The authorization was voided before: nothing was taken, and nothing will be.
    KeyVoided,
    /// In doubt. Ask again with the same key.
    Unknown(Unknown),
}

/// How voiding the key of a charge or an authorization ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoidOutcome {
    /// Nothing was taken under the key, and nothing ever will be; what was held is released.
    Voided,
    /// Too late: the money had been taken.
    WasCaptured {
        /// How much.
        amount: Money,
        /// The processor's reference.
        receipt: Receipt,
    },
    /// It had been declined.
    WasDeclined(DeclineReason),
    /// In doubt. Ask again.
    Unknown(Unknown),
}

/// Asks to give money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    /// The idempotency key: asking twice with it never refunds twice.
    pub key: RefundKey,
    /// The key of the charge.
    pub charge: StepKey,
    /// How much.
    pub amount: Money,
}

/// How a refund ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOutcome {
    /// The money was given back.
    Refunded {
        /// The processor's reference.
        receipt: Receipt,
    },
    /// Surely nothing was given back.
    Refused,
    /// In doubt. Ask again with the same key.
    Unknown(Unknown),
}

/// Why the outcome is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// No answer in time.
    TimedOut,
    /// No answer: the connection, or the processor itself, failed.
    Failed,
    /// The processor asks us to come back later.
    Busy {
        /// How much later.
        retry_after: Duration,
    },
}

impl Unknown {
    /// For the caller and the log.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::TimedOut => "the payment processor did not answer in time",
            Self::Failed => "the payment processor failed to answer",
            Self::Busy { .. } => "the payment processor asks to come back later",
        }
    }
}

/// Implements `name`: how the question ended, for counters and spans.
macro_rules! names {
    ($($outcome:ident { $($variant:pat => $name:expr),+ $(,)? })+) => {
        $(impl $outcome {
            pub(crate) const fn name(&self) -> &'static str {
                match self {
                    $($variant => $name,)+
                    Self::Unknown(Unknown::TimedOut) => "timed_out",
                    Self::Unknown(Unknown::Failed) => "failed",
                    Self::Unknown(Unknown::Busy { .. }) => "busy",
                }
            }
        })+
    };
}

names! {
    ChargeOutcome {
        Self::Captured { .. } => "captured",
        Self::Declined(reason) => reason.name(),
        Self::KeyVoided => "voided",
    }
    AuthorizeOutcome {
        Self::Authorized { .. } => "authorized",
        Self::Declined(reason) => reason.name(),
        Self::KeyVoided => "voided",
    }
    CaptureOutcome {
        Self::Captured { .. } => "captured",
        Self::Refused => "refused",
        Self::KeyVoided => "voided",
    }
    VoidOutcome {
        Self::Voided => "voided",
        Self::WasCaptured { .. } => "captured",
        Self::WasDeclined(reason) => reason.name(),
    }
    RefundOutcome {
        Self::Refunded { .. } => "refunded",
        Self::Refused => "refused",
    }
}

/// Moves money. Implementations answer each key's questions one after the other, as processors with idempotency keys do: a void
/// and a charge of one key that meet have one order, and every later answer agrees with it.
#[async_trait]
pub trait PaymentProcessor: Send + Sync + 'static {
    /// Takes money, once per key.
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome;

    /// Holds money, once per key.
    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome;

    /// Takes what is held, once per authorization.
    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome;

    /// Makes sure nothing is ever taken under the key of a charge or an authorization, or says that it was. Works for keys never
    /// seen.
    ///
    /// A processor that cannot void by key is adapted by charging with the same key, which tells what became of it, and then
    /// reporting what was captured.
    async fn void(&self, charge: &StepKey) -> VoidOutcome;

    /// Gives money back, once per key.
    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome;
}
