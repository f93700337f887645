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
    Failing { amount: Money, method: String, failures: u32 },
    Captured { amount: Money, method: String, refunds: Vec<RefundLine> },
    Declined { amount: Money, method: String, reason: String },
    Voided {},
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundLine {
    key: String,
    amount: Money,
}

const CORRUPT: StoreError = StoreError::Corrupt { what: "processor ledger" };

/// The line as JSON, without its key and version.
pub(crate) fn encode(entry: &Entry) -> Result<String, StoreError> {
    let parts = |asked: &Asked| (asked.amount, asked.method.as_str().to_owned());
    let line = match &entry.fate {
        Fate::Failing { asked, failures } => {
            let (amount, method) = parts(asked);
            Line::Failing { amount, method, failures: *failures }
        }
        Fate::Captured { asked, refunds } => {
            let (amount, method) = parts(asked);
            let line = |(key, amount): &(_, _)| RefundLine { key: ToString::to_string(key), amount: *amount };
            Line::Captured { amount, method, refunds: refunds.iter().map(line).collect() }
        }
        Fate::Declined { asked, reason } => {
            let (amount, method) = parts(asked);
            Line::Declined { amount, method, reason: reason.name().to_owned() }
        }
        Fate::Voided => Line::Voided {},
    };
    serde_json::to_string(&line).map_err(|_| CORRUPT)
}

/// The line of that key and version, from JSON.
pub(crate) fn decode(key: &str, version: i64, json: &str) -> Result<Entry, StoreError> {
    let asked = |amount, method: &str| match PaymentMethod::try_new(method) {
        Ok(method) => Ok(Asked { amount, method }),
        Err(_) => Err(CORRUPT),
    };
    let fate = match serde_json::from_str(json).map_err(|_| CORRUPT)? {
        Line::Failing { amount, method, failures } => Fate::Failing { asked: asked(amount, &method)?, failures },
        Line::Captured { amount, method, refunds } => {
            let refund = |line: RefundLine| Ok((line.key.parse().map_err(|_| CORRUPT)?, line.amount));
            let refunds = refunds.into_iter().map(refund).collect::<Result<_, StoreError>>()?;
            Fate::Captured { asked: asked(amount, &method)?, refunds }
        }
        Line::Declined { amount, method, reason } => {
            let reason = DeclineReason::from_name(&reason).ok_or(CORRUPT)?;
            Fate::Declined { asked: asked(amount, &method)?, reason }
        }
        Line::Voided {} => Fate::Voided,
    };
    Ok(Entry { key: key.parse().map_err(|_| CORRUPT)?, fate, version })
}
