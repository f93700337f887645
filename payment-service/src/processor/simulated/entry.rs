//! One line of the simulated processor's ledger: all it knows about one charge's idempotency key. Pure.
//!
//! Must not know: where the ledger is kept.

use amends_primitives::Money;

use super::Rules;
use crate::{
    domain::{DeclineReason, PaymentMethod, Receipt, RefundKey, StepKey},
    processor::{ChargeAsk, ChargeOutcome, RefundAsk, RefundOutcome, Unknown, VoidOutcome},
};

/// What the processor knows about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The charge's idempotency key.
    pub key: StepKey,
    /// What became of it.
    pub fate: Fate,
    /// Counts changes from 1.
    pub version: i64,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Every attempt so far has failed without effect.
    Failing {
        /// What is asked for.
        asked: Asked,
        /// Attempts so far.
        failures: u32,
    },
    /// The money was taken.
    Captured {
        /// What was asked for.
        asked: Asked,
        /// What was given back of it.
        refunds: Vec<(RefundKey, Money)>,
    },
    /// It was refused.
    Declined {
        /// What was asked for.
        asked: Asked,
        /// Why.
        reason: DeclineReason,
    },
    /// Nothing will ever be taken.
    Voided,
}

/// What a charge asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// How much.
    pub amount: Money,
    /// From what.
    pub method: PaymentMethod,
}

impl Entry {
    /// The line that a first charge writes.
    pub fn opened(ask: &ChargeAsk, rules: &Rules) -> Self {
        let asked = Asked { amount: ask.amount, method: ask.method.clone() };
        let decline = |asked, reason| Fate::Declined { asked, reason };
        let fate = match ask.method.as_str() {
            _ if ask.amount.amount_minor() >= rules.amount_limit_minor => {
                decline(asked, DeclineReason::AmountLimitExceeded)
            }
            "pm_flaky" if rules.flaky_failures > 0 => Fate::Failing { asked, failures: 1 },
            "pm_ok" | "pm_timeout" | "pm_flaky" => Fate::Captured { asked, refunds: Vec::new() },
            "pm_insufficient_funds" => decline(asked, DeclineReason::InsufficientFunds),
            _ => decline(asked, DeclineReason::Declined),
        };
        Self { key: ask.key.clone(), fate, version: 1 }
    }

    /// The line that voiding a key never seen writes.
    pub const fn voided(key: StepKey) -> Self {
        Self { key, fate: Fate::Voided, version: 1 }
    }

    /// The line after one more charge under its key, where it changes.
    pub fn charged_again(&self, rules: &Rules) -> Option<Self> {
        match &self.fate {
            Fate::Failing { asked, failures } if *failures < rules.flaky_failures => {
                Some(self.with(Fate::Failing { asked: asked.clone(), failures: failures + 1 }))
            }
            Fate::Failing { asked, .. } => {
                Some(self.with(Fate::Captured { asked: asked.clone(), refunds: Vec::new() }))
            }
            Fate::Captured { .. } | Fate::Declined { .. } | Fate::Voided => None,
        }
    }

    /// The answer to a charge that found or wrote this line.
    pub fn answer(&self, ask: &ChargeAsk) -> ChargeOutcome {
        match &self.fate {
            Fate::Voided => ChargeOutcome::KeyVoided,
            // One key, two requests: no answer would be true for this one.
            Fate::Failing { asked, .. } | Fate::Captured { asked, .. } | Fate::Declined { asked, .. }
                if asked.amount != ask.amount || asked.method != ask.method =>
            {
                ChargeOutcome::Unknown(Unknown::Failed)
            }
            Fate::Failing { .. } => ChargeOutcome::Unknown(Unknown::Failed),
            Fate::Captured { asked, .. } => {
                ChargeOutcome::Captured { amount: asked.amount, receipt: self.charge_receipt() }
            }
            Fate::Declined { reason, .. } => ChargeOutcome::Declined(*reason),
        }
    }

    /// The answer to voiding the key, and the line afterwards, where it changes.
    pub fn void(&self) -> (VoidOutcome, Option<Self>) {
        match &self.fate {
            Fate::Voided => (VoidOutcome::Voided, None),
            Fate::Failing { .. } => (VoidOutcome::Voided, Some(self.with(Fate::Voided))),
            Fate::Captured { asked, .. } => {
                (VoidOutcome::WasCaptured { amount: asked.amount, receipt: self.charge_receipt() }, None)
            }
            Fate::Declined { reason, .. } => (VoidOutcome::WasDeclined(*reason), None),
        }
    }

    /// The answer to a refund, and the line afterwards, where it changes.
    pub fn refund(&self, ask: &RefundAsk) -> (RefundOutcome, Option<Self>) {
        let Fate::Captured { asked, refunds } = &self.fate else { return (RefundOutcome::Refused, None) };
        let done = RefundOutcome::Refunded { receipt: Receipt::new(format!("sim-refund-{}", ask.key)) };
        if let Some((_, amount)) = refunds.iter().find(|(key, _)| *key == ask.key) {
            return if *amount == ask.amount { (done, None) } else { (RefundOutcome::Refused, None) };
        }
        let given_back = self.given_back_minor();
        let fits = ask.amount.is_positive()
            && ask.amount.currency() == asked.amount.currency()
            && given_back.checked_add(ask.amount.amount_minor()).is_some_and(|all| all <= asked.amount.amount_minor());
        if !fits {
            return (RefundOutcome::Refused, None);
        }
        let mut refunds = refunds.clone();
        refunds.push((ask.key.clone(), ask.amount));
        (done, Some(self.with(Fate::Captured { asked: asked.clone(), refunds })))
    }

    /// What was taken under this key, in minor units.
    pub const fn taken_minor(&self) -> i64 {
        match &self.fate {
            Fate::Captured { asked, .. } => asked.amount.amount_minor(),
            Fate::Failing { .. } | Fate::Declined { .. } | Fate::Voided => 0,
        }
    }

    /// What was given back under this key, in minor units.
    pub fn given_back_minor(&self) -> i64 {
        match &self.fate {
            Fate::Captured { refunds, .. } => {
                refunds.iter().fold(0_i64, |sum, (_, amount)| sum.saturating_add(amount.amount_minor()))
            }
            Fate::Failing { .. } | Fate::Declined { .. } | Fate::Voided => 0,
        }
    }

    fn charge_receipt(&self) -> Receipt {
        Receipt::new(format!("sim-charge-{}", self.key))
    }

    fn with(&self, fate: Fate) -> Self {
        Self { key: self.key.clone(), fate, version: self.version + 1 }
    }
}
