//! How a line of the ledger is written down: JSON, as only the acquirer reads it; and how a call to the ledger ends.
//!
//! Must not know: which database it is, what requests are about.

use amends_primitives::Money;
use amends_sql::SqlError;
use serde::{Deserialize, Serialize};

use crate::domain::{Asked, Decline, Entry, Fate, Key, Method};

/// What a driver said.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the ledger failed. Messages hold no amounts or keys.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, or did not answer in time. A write cut short may or may not have happened.
    #[error("the ledger is unavailable")]
    Unavailable(#[source] Source),
    /// Others were in the way: worth trying again at once.
    #[error("a concurrent write was in the way")]
    Contended,
    /// Another charge has a capture or a refund with this key.
    #[error("the idempotency key is on record with another charge")]
    KeyTaken,
    /// What is stored is not what this program writes.
    #[error("the stored {what} cannot be read")]
    Corrupt {
        /// The field.
        what: &'static str,
    },
    /// A mistake in this program or in its configuration.
    #[error("the ledger refused the call")]
    Failed(#[source] Source),
}

impl From<SqlError> for LedgerError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Contended(_) => Self::Contended,
            SqlError::UniqueViolation(_) => Self::KeyTaken,
            SqlError::Corrupt { what } => Self::Corrupt { what },
            error if error.is_unavailable() => Self::Unavailable(Box::new(error)),
            error => Self::Failed(Box::new(error)),
        }
    }
}

/// What a compare-and-set found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swapped {
    /// The line was as expected and is now as asked.
    Done,
    /// It had changed: load it, decide again.
    Lost,
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
        capture: Option<PartLine>,
        refunds: Vec<PartLine>,
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

/// A capture or a refund.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartLine {
    key: String,
    amount: Money,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const CORRUPT: LedgerError = LedgerError::Corrupt { what: "line of the ledger" };

/// The line as JSON, without its key and version.
///
/// # Errors
/// Never, as far as is known.
pub fn encode(entry: &Entry) -> Result<String, LedgerError> {
    let parts = |asked: &Asked| (asked.amount, asked.method.to_string());
    let part = |(key, amount): &(Key, Money)| PartLine { key: key.to_string(), amount: *amount };
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
            let refunds = refunds.iter().map(part).collect();
            Line::Captured { amount, method, capture: capture.as_ref().map(part), refunds }
        }
        Fate::Declined { asked, reason } => {
            let (amount, method) = parts(asked);
            Line::Declined { amount, method, reason: reason.code().to_owned(), hold: asked.hold }
        }
        Fate::Voided => Line::Voided {},
    };
    serde_json::to_string(&line).map_err(|error| LedgerError::Failed(Box::new(error)))
}

/// The line of that key and version, from JSON.
///
/// # Errors
/// When it is not what [`encode`] writes.
pub fn decode(key: &str, version: i64, json: &str) -> Result<Entry, LedgerError> {
    let asked = |hold, amount, method: &str| match Method::try_new(method) {
        Ok(method) => Ok(Asked { hold, amount, method }),
        Err(_) => Err(CORRUPT),
    };
    let part = |line: PartLine| Ok((Key::try_new(&line.key).map_err(|_| CORRUPT)?, line.amount));
    let fate = match serde_json::from_str(json).map_err(|_| CORRUPT)? {
        Line::Failing { amount, method, failures, hold } => {
            Fate::Failing { asked: asked(hold, amount, &method)?, failures }
        }
        Line::Held { amount, method } => Fate::Held { asked: asked(true, amount, &method)? },
        Line::Captured { amount, method, capture, refunds } => {
            let refunds = refunds.into_iter().map(part).collect::<Result<_, LedgerError>>()?;
            let capture = capture.map(part).transpose()?;
            Fate::Captured { asked: asked(capture.is_some(), amount, &method)?, capture, refunds }
        }
        Line::Declined { amount, method, reason, hold } => {
            let reason = Decline::from_name(&reason).ok_or(CORRUPT)?;
            Fate::Declined { asked: asked(hold, amount, &method)?, reason }
        }
        Line::Voided {} => Fate::Voided,
    };
    Ok(Entry { key: Key::try_new(key).map_err(|_| CORRUPT)?, fate, version })
}
