//! The simulated acquirer in this process, on its own books: for the embedded way to run, where nothing else is to be started. The very
//! same acquirer runs as a process of its own behind [`http`](super::http); its rules and payment methods are tabled in
//! `acquirer/src/domain/mod.rs`.
//!
//! Must not know: payments, their states, their store.

use acquirer::{
    Acquirer, Reply,
    domain::{self as theirs, Captured, Charged, Decline, InvalidValue, Key, Method, Refunded, Voided},
    ledger::LedgerError,
};
pub use acquirer::{domain::Rules, store::SqlLedger};
use async_trait::async_trait;
use service_kit::faults::Faults;

use super::{
    AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk, RefundOutcome,
    Unknown, VoidOutcome,
};
use crate::domain::{DeclineReason, Receipt, StepKey};

/// The simulated processor.
pub struct SimulatedProcessor {
    acquirer: Acquirer,
}

impl SimulatedProcessor {
    /// On a ledger of its own.
    pub fn new(ledger: SqlLedger, rules: Rules) -> Self {
        Self { acquirer: Acquirer::new(ledger, rules) }
    }

    /// Declines the payment methods that are refused on purpose, as well, once and for good under each key.
    #[must_use]
    pub fn declining_also(self, faults: Faults) -> Self {
        Self { acquirer: self.acquirer.declining_also(faults) }
    }

    async fn ask_charge(&self, ask: &ChargeAsk, hold: bool) -> Result<Charged, Unknown> {
        let ask = theirs::ChargeAsk {
            key: key(&ask.key)?,
            hold,
            amount: ask.amount,
            method: Method::try_new(ask.method.as_str()).map_err(not_theirs)?,
        };
        self.given(self.acquirer.charge(&ask).await.map_err(|error| failed(&error))?).await
    }

    async fn ask_capture(&self, ask: &CaptureAsk) -> Result<Captured, Unknown> {
        let (key, authorization) = (key(&ask.key)?, key(&ask.authorization)?);
        let ask = theirs::CaptureAsk { key, authorization, amount: ask.amount };
        self.given(self.acquirer.capture(&ask).await.map_err(|error| failed(&error))?).await
    }

    async fn ask_void(&self, charge: &StepKey) -> Result<Voided, Unknown> {
        self.acquirer.void(&key(charge)?).await.map_err(|error| failed(&error))
    }

    async fn ask_refund(&self, ask: &RefundAsk) -> Result<Refunded, Unknown> {
        let ask = theirs::RefundAsk { key: key(&ask.key)?, charge: key(&ask.charge)?, amount: ask.amount };
        self.acquirer.refund(&ask).await.map_err(|error| failed(&error))
    }

    /// The answer, or silence until the caller has given up.
    async fn given<T>(&self, reply: Reply<T>) -> Result<T, Unknown> {
        match reply {
            Reply::Given(answer) => Ok(answer),
            Reply::Never => {
                tokio::time::sleep(self.acquirer.rules().hang).await;
                Err(Unknown::TimedOut)
            }
        }
    }
}

#[async_trait]
impl PaymentProcessor for SimulatedProcessor {
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome {
        match self.ask_charge(ask, false).await {
            Ok(Charged::Granted { amount, receipt }) => {
                ChargeOutcome::Captured { amount, receipt: Receipt::new(receipt) }
            }
            Ok(Charged::Declined(decline)) => ChargeOutcome::Declined(decline.into()),
            Ok(Charged::KeyVoided) => ChargeOutcome::KeyVoided,
            // One key, two requests: no answer would be true for this one.
            Ok(Charged::KeyReused | Charged::Failed) => ChargeOutcome::Unknown(Unknown::Failed),
            Err(why) => ChargeOutcome::Unknown(why),
        }
    }

    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        match self.ask_charge(ask, true).await {
            Ok(Charged::Granted { amount, receipt }) => {
                AuthorizeOutcome::Authorized { amount, receipt: Receipt::new(receipt) }
            }
            Ok(Charged::Declined(decline)) => AuthorizeOutcome::Declined(decline.into()),
            Ok(Charged::KeyVoided) => AuthorizeOutcome::KeyVoided,
            Ok(Charged::KeyReused | Charged::Failed) => AuthorizeOutcome::Unknown(Unknown::Failed),
            Err(why) => AuthorizeOutcome::Unknown(why),
        }
    }

    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome {
        match self.ask_capture(ask).await {
            Ok(Captured::Done { amount, receipt }) => {
                CaptureOutcome::Captured { amount, receipt: Receipt::new(receipt) }
            }
            Ok(Captured::Refused | Captured::KeyReused) => CaptureOutcome::Refused,
            Ok(Captured::KeyVoided) => CaptureOutcome::KeyVoided,
            Err(why) => CaptureOutcome::Unknown(why),
        }
    }

    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        match self.ask_void(charge).await {
            Ok(Voided::Done) => VoidOutcome::Voided,
            Ok(Voided::WasCaptured { amount, receipt }) => {
                VoidOutcome::WasCaptured { amount, receipt: Receipt::new(receipt) }
            }
            Ok(Voided::WasDeclined(decline)) => VoidOutcome::WasDeclined(decline.into()),
            Err(why) => VoidOutcome::Unknown(why),
        }
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        match self.ask_refund(ask).await {
            Ok(Refunded::Done { receipt }) => RefundOutcome::Refunded { receipt: Receipt::new(receipt) },
            Ok(Refunded::Refused | Refunded::KeyReused) => RefundOutcome::Refused,
            Err(why) => RefundOutcome::Unknown(why),
        }
    }
}

impl From<Decline> for DeclineReason {
    fn from(decline: Decline) -> Self {
        match decline {
            Decline::Declined => Self::Declined,
            Decline::InsufficientFunds => Self::InsufficientFunds,
            Decline::AmountLimitExceeded => Self::AmountLimitExceeded,
        }
    }
}

fn key(key: &impl ToString) -> Result<Key, Unknown> {
    Key::try_new(&key.to_string()).map_err(not_theirs)
}

/// Ours are stricter than theirs, so this does not happen.
fn not_theirs(error: InvalidValue) -> Unknown {
    tracing::error!(%error, "the simulated processor does not accept what we ask with");
    Unknown::Failed
}

fn failed(error: &LedgerError) -> Unknown {
    tracing::warn!(%error, "the simulated processor cannot reach its ledger");
    Unknown::Failed
}
