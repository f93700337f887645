//! One line of the simulated processor's ledger: all it knows about one idempotency key of a charge or an authorization. Pure.
//!
//! Must not know: where the ledger is kept.

use amends_primitives::Money;

use super::Rules;
use crate::{
    domain::{DeclineReason, PaymentMethod, Receipt, RefundKey, StepKey},
    processor::{
        AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, RefundAsk, RefundOutcome, Unknown,
        VoidOutcome,
    },
};

/// What the processor knows about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The idempotency key of the charge or the authorization.
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
    /// The money is held.
    Held {
        /// What was asked for.
        asked: Asked,
    },
    /// The money was taken.
    Captured {
        /// What was asked for.
        asked: Asked,
        /// Where it had been held: how it was taken.
        capture: Option<(StepKey, Money)>,
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

/// What a charge or an authorization asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether the money was to be held and not taken.
    pub hold: bool,
    /// How much.
    pub amount: Money,
    /// From what.
    pub method: PaymentMethod,
}

impl Entry {
    /// The line that a first charge writes, or a first authorization (`hold`).
    pub fn opened(ask: &ChargeAsk, hold: bool, rules: &Rules) -> Self {
        let asked = Asked { hold, amount: ask.amount, method: ask.method.clone() };
        let decline = |asked, reason| Fate::Declined { asked, reason };
        let fate = match ask.method.as_str() {
            _ if ask.amount.amount_minor() >= rules.amount_limit_minor => {
                decline(asked, DeclineReason::AmountLimitExceeded)
            }
            "pm_flaky" if rules.flaky_failures > 0 => Fate::Failing { asked, failures: 1 },
            "pm_ok" | "pm_timeout" | "pm_flaky" => Fate::granted(asked),
            "pm_capture_refused" | "pm_capture_timeout" if hold => Fate::granted(asked),
            "pm_insufficient_funds" => decline(asked, DeclineReason::InsufficientFunds),
            _ => decline(asked, DeclineReason::Declined),
        };
        Self { key: ask.key.clone(), fate, version: 1 }
    }

    /// The line of a first charge or authorization that is declined whatever it asks for.
    pub fn declined(ask: &ChargeAsk, hold: bool) -> Self {
        let asked = Asked { hold, amount: ask.amount, method: ask.method.clone() };
        let fate = Fate::Declined { asked, reason: DeclineReason::Declined };
        Self { key: ask.key.clone(), fate, version: 1 }
    }

    /// The line that voiding a key never seen writes.
    pub const fn voided(key: StepKey) -> Self {
        Self { key, fate: Fate::Voided, version: 1 }
    }

    /// The line after one more charge or authorization under its key, where it changes.
    pub fn asked_again(&self, rules: &Rules) -> Option<Self> {
        match &self.fate {
            Fate::Failing { asked, failures } if *failures < rules.flaky_failures => {
                Some(self.with(Fate::Failing { asked: asked.clone(), failures: failures + 1 }))
            }
            Fate::Failing { asked, .. } => Some(self.with(Fate::granted(asked.clone()))),
            Fate::Held { .. } | Fate::Captured { .. } | Fate::Declined { .. } | Fate::Voided => None,
        }
    }

    /// The answer to a charge that found or wrote this line.
    pub fn answer(&self, ask: &ChargeAsk) -> ChargeOutcome {
        match &self.fate {
            Fate::Voided => ChargeOutcome::KeyVoided,
            Fate::Captured { asked, .. } if asked.is(ask, false) => {
                ChargeOutcome::Captured { amount: asked.amount, receipt: self.receipt("charge") }
            }
            Fate::Declined { asked, reason } if asked.is(ask, false) => ChargeOutcome::Declined(*reason),
            // Failing; or one key, two requests: no answer would be true for this one.
            _ => ChargeOutcome::Unknown(Unknown::Failed),
        }
    }

    /// The answer to an authorization that found or wrote this line. What has been captured since was held.
    pub fn answer_hold(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        match &self.fate {
            Fate::Voided => AuthorizeOutcome::KeyVoided,
            Fate::Held { asked } | Fate::Captured { asked, .. } if asked.is(ask, true) => {
                AuthorizeOutcome::Authorized { amount: asked.amount, receipt: self.receipt("authorization") }
            }
            Fate::Declined { asked, reason } if asked.is(ask, true) => AuthorizeOutcome::Declined(*reason),
            _ => AuthorizeOutcome::Unknown(Unknown::Failed),
        }
    }

    /// The answer to a capture, and the line afterwards, where it changes.
    pub fn capture(&self, ask: &CaptureAsk) -> (CaptureOutcome, Option<Self>) {
        let done = || CaptureOutcome::Captured { amount: ask.amount, receipt: self.receipt("capture") };
        match &self.fate {
            Fate::Voided => (CaptureOutcome::KeyVoided, None),
            Fate::Captured { capture: Some((key, amount)), .. } if *key == ask.key && *amount == ask.amount => {
                (done(), None)
            }
            Fate::Held { asked } if asked.method.as_str() != "pm_capture_refused" && fits(ask.amount, asked.amount) => {
                let capture = Some((ask.key.clone(), ask.amount));
                (done(), Some(self.with(Fate::Captured { asked: asked.clone(), capture, refunds: Vec::new() })))
            }
            Fate::Failing { .. } | Fate::Held { .. } | Fate::Captured { .. } | Fate::Declined { .. } => {
                (CaptureOutcome::Refused, None)
            }
        }
    }

    /// The answer to voiding the key, and the line afterwards, where it changes.
    pub fn void(&self) -> (VoidOutcome, Option<Self>) {
        match &self.fate {
            Fate::Voided => (VoidOutcome::Voided, None),
            Fate::Failing { .. } | Fate::Held { .. } => (VoidOutcome::Voided, Some(self.with(Fate::Voided))),
            Fate::Captured { asked, capture, .. } => {
                let (what, amount) =
                    capture.as_ref().map_or(("charge", asked.amount), |(_, amount)| ("capture", *amount));
                (VoidOutcome::WasCaptured { amount, receipt: self.receipt(what) }, None)
            }
            Fate::Declined { reason, .. } => (VoidOutcome::WasDeclined(*reason), None),
        }
    }

    /// The answer to a refund, and the line afterwards, where it changes.
    pub fn refund(&self, ask: &RefundAsk) -> (RefundOutcome, Option<Self>) {
        let Fate::Captured { asked, capture, refunds } = &self.fate else { return (RefundOutcome::Refused, None) };
        let done = RefundOutcome::Refunded { receipt: Receipt::new(format!("sim-refund-{}", ask.key)) };
        if let Some((_, amount)) = refunds.iter().find(|(key, _)| *key == ask.key) {
            return if *amount == ask.amount { (done, None) } else { (RefundOutcome::Refused, None) };
        }
        let left = self.taken_minor().saturating_sub(self.given_back_minor());
        if !fits(ask.amount, Money::new(left, asked.amount.currency())) {
            return (RefundOutcome::Refused, None);
        }
        let mut refunds = refunds.clone();
        refunds.push((ask.key.clone(), ask.amount));
        (done, Some(self.with(Fate::Captured { asked: asked.clone(), capture: capture.clone(), refunds })))
    }

    /// What was taken under this key, in minor units.
    pub fn taken_minor(&self) -> i64 {
        match &self.fate {
            Fate::Captured { asked, capture, .. } => {
                capture.as_ref().map_or(asked.amount, |(_, amount)| *amount).amount_minor()
            }
            Fate::Failing { .. } | Fate::Held { .. } | Fate::Declined { .. } | Fate::Voided => 0,
        }
    }

    /// What is held under this key, in minor units.
    pub const fn held_minor(&self) -> i64 {
        match &self.fate {
            Fate::Held { asked } => asked.amount.amount_minor(),
            Fate::Failing { .. } | Fate::Captured { .. } | Fate::Declined { .. } | Fate::Voided => 0,
        }
    }

    /// What was given back under this key, in minor units.
    pub fn given_back_minor(&self) -> i64 {
        match &self.fate {
            Fate::Captured { refunds, .. } => {
                refunds.iter().fold(0_i64, |sum, (_, amount)| sum.saturating_add(amount.amount_minor()))
            }
            Fate::Failing { .. } | Fate::Held { .. } | Fate::Declined { .. } | Fate::Voided => 0,
        }
    }

    /// Whether a capture under this key happens and its answer never comes.
    pub fn hangs_at_capture(&self) -> bool {
        matches!(&self.fate, Fate::Captured { asked, .. } if asked.method.as_str() == "pm_capture_timeout")
    }

    fn receipt(&self, what: &str) -> Receipt {
        Receipt::new(format!("sim-{what}-{}", self.key))
    }

    fn with(&self, fate: Fate) -> Self {
        Self { key: self.key.clone(), fate, version: self.version + 1 }
    }
}

impl Fate {
    /// What was asked for has been done.
    const fn granted(asked: Asked) -> Self {
        if asked.hold { Self::Held { asked } } else { Self::Captured { asked, capture: None, refunds: Vec::new() } }
    }
}

impl Asked {
    fn is(&self, ask: &ChargeAsk, hold: bool) -> bool {
        self.hold == hold && self.amount == ask.amount && self.method == ask.method
    }
}

fn fits(amount: Money, into: Money) -> bool {
    amount.is_positive() && into.checked_sub(amount).is_ok_and(|rest| rest.amount_minor() >= 0)
}
