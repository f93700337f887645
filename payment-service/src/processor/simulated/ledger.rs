//! Where the simulated processor keeps its memory, and how a line is written down: JSON, as nobody but it ever queries it.
//!
//! Must not know: payments.

use amends_primitives::Money;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Asked, Entry, Fate};
use crate::{
    domain::{DeclineReason, PaymentMethod, StepKey},
    store::{StoreError, Swapped},
};

/// A durable map of idempotency keys with compare-and-set.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Writes the line unless its key has one; returns the one it has.
    async fn claim(&self, entry: &Entry) -> Result<Option<Entry>, StoreError>;

    /// The line of a key.
    async fn load(&self, key: &StepKey) -> Result<Option<Entry>, StoreError>;

    /// Replaces the line if its version is `next.version - 1`.
    async fn swap(&self, next: &Entry) -> Result<Swapped, StoreError>;
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Failing {
        amount: Money,
        method: String,
        failures: u32,
        #[serde(default, skip_serializing_if = "is_false")]
        hold: bool,
    },
    Held {
        amount: Money,
        method: String,
    },
    // Authorized before it was captured, where it says how.
    Captured {
        amount: Money,
        method: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capture: Option<CaptureLine>,
        refunds: Vec<RefundLine>,
    },
    Declined {
        amount: Money,
        method: String,
        reason: String,
        #[serde(default, skip_serializing_if = "is_false")]
        hold: bool,
    },
    Voided {},
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureLine {
    key: String,
    amount: Money,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundLine {
    key: String,
    amount: Money,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const CORRUPT: StoreError = StoreError::Corrupt { what: "processor ledger" };

/// The line as JSON, without its key and version.
pub(crate) fn encode(entry: &Entry) -> Result<String, StoreError> {
    let parts = |asked: &Asked| (asked.amount, asked.method.as_str().to_owned());
    let line = match &entry.fate {
        Fate::Failing { asked, failures } => {
            let (amount, method) = parts(asked);
            Line::Failing { amount, method, failures: *failures, hold: asked.hold }
        }
        Fate::Held { asked } => {
            let (amount, method) = parts(asked);
            Line::Held { amount, method }
        }
        Fate::Captured { asked, capture, refunds } => {
            let (amount, method) = parts(asked);
            let line = |(key, amount): &(_, _)| RefundLine { key: ToString::to_string(key), amount: *amount };
            let capture = capture.as_ref().map(|(key, amount)| CaptureLine { key: key.to_string(), amount: *amount });
            Line::Captured { amount, method, capture, refunds: refunds.iter().map(line).collect() }
        }
        Fate::Declined { asked, reason } => {
            let (amount, method) = parts(asked);
            Line::Declined { amount, method, reason: reason.name().to_owned(), hold: asked.hold }
        }
        Fate::Voided => Line::Voided {},
    };
    serde_json::to_string(&line).map_err(|_| CORRUPT)
}

/// The line of that key and version, from JSON.
pub(crate) fn decode(key: &str, version: i64, json: &str) -> Result<Entry, StoreError> {
    let asked = |hold, amount, method: &str| match PaymentMethod::try_new(method) {
        Ok(method) => Ok(Asked { hold, amount, method }),
        Err(_) => Err(CORRUPT),
    };
    let fate = match serde_json::from_str(json).map_err(|_| CORRUPT)? {
        Line::Failing { amount, method, failures, hold } => {
            Fate::Failing { asked: asked(hold, amount, &method)?, failures }
        }
        Line::Held { amount, method } => Fate::Held { asked: asked(true, amount, &method)? },
        Line::Captured { amount, method, capture, refunds } => {
            let refund = |line: RefundLine| Ok((line.key.parse().map_err(|_| CORRUPT)?, line.amount));
            let refunds = refunds.into_iter().map(refund).collect::<Result<_, StoreError>>()?;
            let capture = match capture {
                Some(line) => Some((line.key.parse().map_err(|_| CORRUPT)?, line.amount)),
                None => None,
            };
            Fate::Captured { asked: asked(capture.is_some(), amount, &method)?, capture, refunds }
        }
        Line::Declined { amount, method, reason, hold } => {
            let reason = DeclineReason::from_name(&reason).ok_or(CORRUPT)?;
            Fate::Declined { asked: asked(hold, amount, &method)?, reason }
        }
        Line::Voided {} => Fate::Voided,
    };
    Ok(Entry { key: key.parse().map_err(|_| CORRUPT)?, fate, version })
}
