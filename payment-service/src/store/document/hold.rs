//! How a hold is written down: an object inside the payment's document.
//!
//! Must not know: drivers.

use amends_primitives::{Currency, Money, Timestamp};
use serde::{Deserialize, Serialize};

use super::{StoreError, corrupt};
use crate::domain::{Hold, Receipt, Settlement, SettlementState, Wanted};

/// What is or was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldDocument {
    pub(crate) amount_minor: i64,
    pub(crate) receipt: String,
    pub(crate) at: i64,
    pub(crate) endings: Vec<SettlementDocument>,
}

/// A capture or a void that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SettlementDocument {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) wanted: WantedDocument,
    #[serde(flatten)]
    pub(crate) state: SettlementStateDocument,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum WantedDocument {
    Capture {
        #[serde(skip_serializing_if = "Option::is_none")]
        asked_minor: Option<i64>,
        amount_minor: i64,
    },
    Void,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum SettlementStateDocument {
    Pending,
    Done { done_at: i64 },
    Refused { done_at: i64 },
}

impl From<&Hold> for HoldDocument {
    fn from(hold: &Hold) -> Self {
        Self {
            amount_minor: hold.amount.amount_minor(),
            receipt: hold.receipt.as_str().to_owned(),
            at: hold.at.as_micros(),
            endings: hold.settlements.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Settlement> for SettlementDocument {
    fn from(settlement: &Settlement) -> Self {
        Self {
            key: settlement.key.to_string(),
            fingerprint: settlement.fingerprint.to_string(),
            at: settlement.at.as_micros(),
            wanted: match settlement.wanted {
                Wanted::Void => WantedDocument::Void,
                Wanted::Capture { asked, amount } => WantedDocument::Capture {
                    asked_minor: asked.map(|asked| asked.amount_minor()),
                    amount_minor: amount.amount_minor(),
                },
            },
            state: match settlement.state {
                SettlementState::Pending => SettlementStateDocument::Pending,
                SettlementState::Done { at } => SettlementStateDocument::Done { done_at: at.as_micros() },
                SettlementState::Refused { at } => SettlementStateDocument::Refused { done_at: at.as_micros() },
            },
        }
    }
}

impl HoldDocument {
    pub(super) fn read(self, currency: Currency) -> Result<Hold, StoreError> {
        let endings = self.endings.into_iter().map(|ending| ending.read(currency));
        Ok(Hold {
            amount: Money::new(self.amount_minor, currency),
            receipt: Receipt::new(self.receipt),
            at: Timestamp::from_micros(self.at),
            settlements: endings.collect::<Result<_, _>>()?,
        })
    }
}

impl SettlementDocument {
    fn read(self, currency: Currency) -> Result<Settlement, StoreError> {
        let money = |minor| Money::new(minor, currency);
        Ok(Settlement {
            key: self.key.parse().map_err(corrupt("hold.endings.key"))?,
            fingerprint: self.fingerprint.parse().map_err(corrupt("hold.endings.fingerprint"))?,
            wanted: match self.wanted {
                WantedDocument::Void => Wanted::Void,
                WantedDocument::Capture { asked_minor, amount_minor } => {
                    Wanted::Capture { asked: asked_minor.map(money), amount: money(amount_minor) }
                }
            },
            at: Timestamp::from_micros(self.at),
            state: match self.state {
                SettlementStateDocument::Pending => SettlementState::Pending,
                SettlementStateDocument::Done { done_at } => {
                    SettlementState::Done { at: Timestamp::from_micros(done_at) }
                }
                SettlementStateDocument::Refused { done_at } => {
                    SettlementState::Refused { at: Timestamp::from_micros(done_at) }
                }
            },
        })
    }
}
