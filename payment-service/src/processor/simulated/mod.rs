//! A processor for development and tests. It keeps its own ledger, durably, so that it remembers every idempotency key as a real
//! one does: over restarts of this process and from any replica.
//!
//! | payment method          | what happens                                                                     |
//! |-------------------------|----------------------------------------------------------------------------------|
//! | `pm_ok`                 | captured                                                                         |
//! | `pm_declined`           | declined                                                                         |
//! | `pm_insufficient_funds` | declined for insufficient funds                                                  |
//! | `pm_timeout`            | captured, and the answer never comes: the worst that a timeout can hide          |
//! | `pm_flaky`              | fails without effect as many times per key as configured, then captured          |
//! | `pm_capture_refused`    | authorized; its capture is refused, as of an authorization that has expired      |
//! | `pm_capture_timeout`    | authorized; captured, and the answer never comes                                 |
//! | any other               | declined                                                                         |
//!
//! The table is of charges; an authorization holds where a charge would capture, and a capture then takes what is asked for.
//! Amounts at or above the limit are declined whatever the method.
//!
//! Must not know: payments, their states, their store.

mod entry;
mod ledger;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use service_kit::faults::Faults;

pub use entry::{Asked, Entry, Fate};
pub use ledger::Ledger;
pub(crate) use ledger::{decode, encode};

use super::{
    AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk, RefundOutcome,
    Unknown, VoidOutcome,
};
use crate::{
    domain::StepKey,
    store::{StoreError, Swapped},
};

/// Rounds of a compare-and-set before giving up. Only calls for one and the same charge compete.
const ROUNDS_MAX: u32 = 64;

/// How the simulation behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Charges of this many minor units or more are declined.
    pub amount_limit_minor: i64,
    /// How long `pm_timeout` hangs.
    pub hang: Duration,
    /// How often `pm_flaky` fails, per key.
    pub flaky_failures: u32,
}

/// The simulated processor.
pub struct SimulatedProcessor {
    ledger: Arc<dyn Ledger>,
    rules: Rules,
    faults: Faults,
}

impl SimulatedProcessor {
    /// On a ledger of its own.
    pub fn new(ledger: Arc<dyn Ledger>, rules: Rules) -> Self {
        Self { ledger, rules, faults: Faults::default() }
    }

    /// Declines the payment methods that are refused on purpose, as well. Here and not before the call, so that it is decided once
    /// under each key: a refusal that came after an effect would not be one.
    #[must_use]
    pub fn declining_also(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The line of a charge or an authorization after it was asked for, be it again.
    async fn asked(&self, ask: &ChargeAsk, hold: bool) -> Result<Entry, StoreError> {
        let refused = self.faults.current().refuse.iter().any(|method| method == ask.method.as_str());
        let opened = if refused { Entry::declined(ask, hold) } else { Entry::opened(ask, hold, &self.rules) };
        let Some(mut entry) = self.ledger.claim(&opened).await? else { return Ok(opened) };
        for _ in 0..ROUNDS_MAX {
            let Some(next) = entry.asked_again(&self.rules) else { return Ok(entry) };
            if self.ledger.swap(&next).await? == Swapped::Done {
                return Ok(next);
            }
            entry = self.ledger.load(&ask.key).await?.ok_or(StoreError::Contended)?;
        }
        Err(StoreError::Contended)
    }

    /// The answer to a capture, and whether it ever comes.
    async fn try_capture(&self, ask: &CaptureAsk) -> Result<(CaptureOutcome, bool), StoreError> {
        for _ in 0..ROUNDS_MAX {
            let Some(entry) = self.ledger.load(&ask.authorization).await? else {
                return Ok((CaptureOutcome::Refused, true));
            };
            let (answer, next) = entry.capture(ask);
            match next {
                None => return Ok((answer, !entry.hangs_at_capture())),
                Some(next) if self.ledger.swap(&next).await? == Swapped::Done => {
                    return Ok((answer, !next.hangs_at_capture()));
                }
                Some(_) => {}
            }
        }
        Err(StoreError::Contended)
    }

    /// Waits until whoever asked has given up.
    async fn never(&self) -> Unknown {
        tokio::time::sleep(self.rules.hang).await;
        Unknown::TimedOut
    }

    async fn try_void(&self, charge: &StepKey) -> Result<VoidOutcome, StoreError> {
        let Some(mut entry) = self.ledger.claim(&Entry::voided(charge.clone())).await? else {
            return Ok(VoidOutcome::Voided);
        };
        for _ in 0..ROUNDS_MAX {
            let (answer, next) = entry.void();
            match next {
                None => return Ok(answer),
                Some(next) if self.ledger.swap(&next).await? == Swapped::Done => return Ok(answer),
                Some(_) => entry = self.ledger.load(charge).await?.ok_or(StoreError::Contended)?,
            }
        }
        Err(StoreError::Contended)
    }

    async fn try_refund(&self, ask: &RefundAsk) -> Result<RefundOutcome, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let Some(entry) = self.ledger.load(&ask.charge).await? else { return Ok(RefundOutcome::Refused) };
            let (answer, next) = entry.refund(ask);
            match next {
                None => return Ok(answer),
                Some(next) if self.ledger.swap(&next).await? == Swapped::Done => return Ok(answer),
                Some(_) => {}
            }
        }
        Err(StoreError::Contended)
    }
}

#[async_trait]
impl PaymentProcessor for SimulatedProcessor {
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome {
        let outcome = match self.asked(ask, false).await {
            Ok(entry) => entry.answer(ask),
            Err(error) => ChargeOutcome::Unknown(ledger_failed(&error)),
        };
        if hangs(ask) && matches!(outcome, ChargeOutcome::Captured { .. }) {
            return ChargeOutcome::Unknown(self.never().await);
        }
        outcome
    }

    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        let outcome = match self.asked(ask, true).await {
            Ok(entry) => entry.answer_hold(ask),
            Err(error) => AuthorizeOutcome::Unknown(ledger_failed(&error)),
        };
        if hangs(ask) && matches!(outcome, AuthorizeOutcome::Authorized { .. }) {
            return AuthorizeOutcome::Unknown(self.never().await);
        }
        outcome
    }

    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome {
        match self.try_capture(ask).await {
            Ok((outcome, true)) => outcome,
            Ok((_, false)) => CaptureOutcome::Unknown(self.never().await),
            Err(error) => CaptureOutcome::Unknown(ledger_failed(&error)),
        }
    }

    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        self.try_void(charge).await.unwrap_or_else(|error| VoidOutcome::Unknown(ledger_failed(&error)))
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        self.try_refund(ask).await.unwrap_or_else(|error| RefundOutcome::Unknown(ledger_failed(&error)))
    }
}

fn hangs(ask: &ChargeAsk) -> bool {
    ask.method.as_str() == "pm_timeout"
}

fn ledger_failed(error: &StoreError) -> Unknown {
    tracing::warn!(error = %error, "the simulated processor cannot reach its ledger");
    Unknown::Failed
}
