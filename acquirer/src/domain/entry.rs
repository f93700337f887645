//! One line of the ledger: all that is known about one idempotency key of a charge or an authorization. Pure.
//!
//! Must not know: where the ledger is kept.

use amends_primitives::Money;

use super::{CaptureAsk, Captured, ChargeAsk, Charged, Decline, Key, Method, RefundAsk, Refunded, Rules, Voided};

/// A line is written anew for each refund; more of them would make it slow to read.
pub const REFUNDS_PER_CHARGE_MAX: usize = 1_000;

/// What is known about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The idempotency key of the charge or the authorization.
    pub key: Key,
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
        capture: Option<(Key, Money)>,
        /// What was given back of it, in order.
        refunds: Vec<(Key, Money)>,
    },
    /// It was refused.
    Declined {
        /// What was asked for.
        asked: Asked,
        /// Why.
        reason: Decline,
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
    pub method: Method,
}

impl Entry {
    /// The line that a first charge writes, or a first authorization.
    pub fn opened(ask: &ChargeAsk, rules: &Rules) -> Self {
        let asked = Asked::by(ask);
        let decline = |asked, reason| Fate::Declined { asked, reason };
        let fate = match ask.method.as_str() {
            _ if ask.amount.amount_minor() >= rules.amount_limit_minor => decline(asked, Decline::AmountLimitExceeded),
            "pm_flaky" if rules.flaky_failures > 0 => Fate::Failing { asked, failures: 1 },
            "pm_ok" | "pm_timeout" | "pm_flaky" => Fate::granted(asked),
            "pm_capture_refused" | "pm_capture_timeout" if ask.hold => Fate::granted(asked),
            "pm_insufficient_funds" => decline(asked, Decline::InsufficientFunds),
            _ => decline(asked, Decline::Declined),
        };
        Self { key: ask.key.clone(), fate, version: 1 }
    }

    /// The line of a first charge or authorization that is declined whatever it asks for.
    pub fn declined(ask: &ChargeAsk) -> Self {
        let fate = Fate::Declined { asked: Asked::by(ask), reason: Decline::Declined };
        Self { key: ask.key.clone(), fate, version: 1 }
    }

    /// The line that voiding a key never seen writes.
    pub const fn voided(key: Key) -> Self {
        Self { key, fate: Fate::Voided, version: 1 }
    }

    /// The line after the same charge or authorization once more, where it changes.
    pub fn asked_again(&self, ask: &ChargeAsk, rules: &Rules) -> Option<Self> {
        match &self.fate {
            Fate::Failing { asked, .. } if !asked.is(ask) => None,
            Fate::Failing { asked, failures } if *failures < rules.flaky_failures => {
                Some(self.with(Fate::Failing { asked: asked.clone(), failures: failures + 1 }))
            }
            Fate::Failing { asked, .. } => Some(self.with(Fate::granted(asked.clone()))),
            Fate::Held { .. } | Fate::Captured { .. } | Fate::Declined { .. } | Fate::Voided => None,
        }
    }

    /// The answer to a charge or an authorization that found or wrote this line. It stays the same whatever happens later: what has
    /// been captured since was held, what has been refunded since was taken.
    pub fn answer(&self, ask: &ChargeAsk) -> Charged {
        let (asked, charged) = match &self.fate {
            Fate::Voided => return Charged::KeyVoided,
            Fate::Failing { asked, .. } => (asked, Charged::Failed),
            Fate::Declined { asked, reason } => (asked, Charged::Declined(*reason)),
            Fate::Held { asked } | Fate::Captured { asked, .. } => {
                let what = if asked.hold { "authorization" } else { "charge" };
                (asked, Charged::Granted { amount: asked.amount, receipt: self.receipt(what) })
            }
        };
        if asked.is(ask) { charged } else { Charged::KeyReused }
    }

    /// The answer to a capture, and the line afterwards, where it changes.
    pub fn capture(&self, ask: &CaptureAsk) -> (Captured, Option<Self>) {
        let done = || Captured::Done { amount: ask.amount, receipt: self.receipt("capture") };
        match &self.fate {
            Fate::Voided => (Captured::KeyVoided, None),
            Fate::Captured { capture: Some((key, amount)), .. } if *key == ask.key => {
                (if *amount == ask.amount { done() } else { Captured::KeyReused }, None)
            }
            Fate::Held { asked } if asked.method.as_str() != "pm_capture_refused" && fits(ask.amount, asked.amount) => {
                let capture = Some((ask.key.clone(), ask.amount));
                (done(), Some(self.with(Fate::Captured { asked: asked.clone(), capture, refunds: Vec::new() })))
            }
            Fate::Failing { .. } | Fate::Held { .. } | Fate::Captured { .. } | Fate::Declined { .. } => {
                (Captured::Refused, None)
            }
        }
    }

    /// The answer to voiding the key, and the line afterwards, where it changes.
    pub fn void(&self) -> (Voided, Option<Self>) {
        match &self.fate {
            Fate::Voided => (Voided::Done, None),
            Fate::Failing { .. } | Fate::Held { .. } => (Voided::Done, Some(self.with(Fate::Voided))),
            Fate::Captured { asked, capture, .. } => {
                let (what, amount) =
                    capture.as_ref().map_or(("charge", asked.amount), |(_, amount)| ("capture", *amount));
                (Voided::WasCaptured { amount, receipt: self.receipt(what) }, None)
            }
            Fate::Declined { reason, .. } => (Voided::WasDeclined(*reason), None),
        }
    }

    /// The answer to a refund, and the line afterwards, where it changes.
    pub fn refund(&self, ask: &RefundAsk) -> (Refunded, Option<Self>) {
        let Fate::Captured { asked, capture, refunds } = &self.fate else { return (Refunded::Refused, None) };
        let done = Refunded::Done { receipt: Self::refund_receipt(&ask.key) };
        if let Some((_, amount)) = refunds.iter().find(|(key, _)| *key == ask.key) {
            return (if *amount == ask.amount { done } else { Refunded::KeyReused }, None);
        }
        let left = self.taken_minor().saturating_sub(self.given_back_minor());
        if refunds.len() >= REFUNDS_PER_CHARGE_MAX || !fits(ask.amount, Money::new(left, asked.amount.currency())) {
            return (Refunded::Refused, None);
        }
        let mut refunds = refunds.clone();
        refunds.push((ask.key.clone(), ask.amount));
        (done, Some(self.with(Fate::Captured { asked: asked.clone(), capture: capture.clone(), refunds })))
    }

    /// What was asked for under this key; nothing where it was voided before anything was.
    pub const fn asked(&self) -> Option<&Asked> {
        match &self.fate {
            Fate::Failing { asked, .. }
            | Fate::Held { asked }
            | Fate::Captured { asked, .. }
            | Fate::Declined { asked, .. } => Some(asked),
            Fate::Voided => None,
        }
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

    pub(super) fn receipt(&self, what: &str) -> String {
        format!("sim-{what}-{}", self.key)
    }

    pub(super) fn refund_receipt(key: &Key) -> String {
        format!("sim-refund-{key}")
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
    fn by(ask: &ChargeAsk) -> Self {
        Self { hold: ask.hold, amount: ask.amount, method: ask.method.clone() }
    }

    fn is(&self, ask: &ChargeAsk) -> bool {
        self.hold == ask.hold && self.amount == ask.amount && self.method == ask.method
    }
}

fn fits(amount: Money, into: Money) -> bool {
    amount.is_positive() && into.checked_sub(amount).is_ok_and(|rest| rest.amount_minor() >= 0)
}
