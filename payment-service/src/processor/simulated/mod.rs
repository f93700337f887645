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
//! | any other               | declined                                                                         |
//!
//! Amounts at or above the limit are declined whatever the method.
//!
//! Must not know: payments, their states, their store.

mod entry;
mod ledger;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use entry::{Asked, Entry, Fate};
pub use ledger::Ledger;
pub(crate) use ledger::{decode, encode};

use super::{ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk, RefundOutcome, Unknown, VoidOutcome};
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
}

impl SimulatedProcessor {
    /// On a ledger of its own.
    pub fn new(ledger: Arc<dyn Ledger>, rules: Rules) -> Self {
        Self { ledger, rules }
    }

    async fn try_charge(&self, ask: &ChargeAsk) -> Result<ChargeOutcome, StoreError> {
        let opened = Entry::opened(ask, &self.rules);
        let Some(mut entry) = self.ledger.claim(&opened).await? else { return Ok(opened.answer(ask)) };
        for _ in 0..ROUNDS_MAX {
            let Some(next) = entry.charged_again(&self.rules) else { return Ok(entry.answer(ask)) };
            if self.ledger.swap(&next).await? == Swapped::Done {
                return Ok(next.answer(ask));
            }
            entry = self.ledger.load(&ask.key).await?.ok_or(StoreError::Contended)?;
        }
        Err(StoreError::Contended)
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
        let outcome = self.try_charge(ask).await.unwrap_or_else(|error| {
            ledger_failed(&error);
            ChargeOutcome::Unknown(Unknown::Failed)
        });
        if ask.method.as_str() == "pm_timeout" && matches!(outcome, ChargeOutcome::Captured { .. }) {
            tokio::time::sleep(self.rules.hang).await;
            return ChargeOutcome::Unknown(Unknown::TimedOut);
        }
        outcome
    }

    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        self.try_void(charge).await.unwrap_or_else(|error| {
            ledger_failed(&error);
            VoidOutcome::Unknown(Unknown::Failed)
        })
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        self.try_refund(ask).await.unwrap_or_else(|error| {
            ledger_failed(&error);
            RefundOutcome::Unknown(Unknown::Failed)
        })
    }
}

fn ledger_failed(error: &StoreError) {
    tracing::warn!(error = %error, "the simulated processor cannot reach its ledger");
}
