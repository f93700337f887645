//! How a record is written down: one flat document, the same in MongoDB and, as JSON, in SQLite. Persisted, so a contract:
//! fields are added, never renamed (`tests/golden`).
//!
//! Must not know: drivers.

use amends_primitives::{Currency, Money, Timestamp};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::{
    Barrier, Capture, Charge, CustomerId, DeclineReason, Mode, Payment, PaymentMethod, Receipt, Record, Refund,
    RefundState, State, Status,
};
pub(crate) use hold::{HoldDocument, SettlementStateDocument};

mod hold;
pub(crate) mod webhook;

/// The kind of a document that holds a payment.
pub(crate) const PAYMENT: &str = "payment";
/// The kind of a document that only refuses a late charge.
pub(crate) const TOMBSTONE: &str = "tombstone";

/// One record. Times are microseconds since the Unix epoch, amounts minor units of the document's one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    #[serde(rename = "_id")]
    pub(crate) step_key: String,
    pub(crate) kind: String,
    /// Tombstones reserve one too, so that the unique index is not partial.
    pub(crate) payment_id: String,
    pub(crate) version: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// Since when the barrier is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed_at: Option<i64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<AskedFields>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<StateFields>,
}

/// What the charge or the authorization asked for: never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskedFields {
    pub(crate) fingerprint: String,
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) payment_method: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    /// Absent: a charge, which is all there was at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
}

/// The mode of an authorization.
pub(crate) const AUTHORIZE: &str = "authorize";

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFields {
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decline_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) captured_at: Option<i64>,
    pub(crate) captured_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) refunds: Vec<RefundDocument>,
    /// What is or was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<HoldDocument>,
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefundDocument {
    pub(crate) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked_minor: Option<i64>,
    pub(crate) amount_minor: i64,
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) state: RefundStateDocument,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum RefundStateDocument {
    Pending,
    Done { receipt: String, done_at: i64, refunded_after_minor: i64 },
    Refused { done_at: i64 },
}

impl From<&Record> for Document {
    fn from(record: &Record) -> Self {
        match record {
            Record::Tombstone { key, at, id } => Self {
                step_key: key.to_string(),
                kind: TOMBSTONE.to_owned(),
                payment_id: id.to_string(),
                version: 1,
                created_at: at.as_micros(),
                updated_at: at.as_micros(),
                closed_at: Some(at.as_micros()),
                asked: None,
                state: None,
            },
            Record::Payment(payment) => payment.into(),
        }
    }
}

impl From<&Payment> for Document {
    fn from(payment: &Payment) -> Self {
        let charge = &payment.charge;
        Self {
            step_key: charge.key.to_string(),
            kind: PAYMENT.to_owned(),
            payment_id: payment.id.to_string(),
            version: payment.version,
            created_at: payment.created_at.as_micros(),
            updated_at: payment.updated_at.as_micros(),
            closed_at: match payment.barrier {
                Barrier::Open => None,
                Barrier::Closed { at } => Some(at.as_micros()),
            },
            asked: Some(AskedFields {
                fingerprint: charge.fingerprint.to_string(),
                order_id: charge.order_id.to_string(),
                customer_id: charge.customer_id.as_str().to_owned(),
                payment_method: charge.method.as_str().to_owned(),
                amount_minor: charge.amount.amount_minor(),
                currency: charge.amount.currency().code().to_owned(),
                mode: match charge.mode {
                    Mode::Charge => None,
                    Mode::Authorize => Some(AUTHORIZE.to_owned()),
                },
            }),
            state: Some(StateFields::from(payment)),
        }
    }
}

impl From<&Payment> for StateFields {
    fn from(payment: &Payment) -> Self {
        let capture = payment.state.capture();
        Self {
            status: payment.status().name().to_owned(),
            decline_reason: match &payment.state {
                State::Declined { reason } => Some(reason.name().to_owned()),
                _ => None,
            },
            receipt: capture.map(|capture| capture.receipt.as_str().to_owned()),
            captured_at: capture.map(|capture| capture.at.as_micros()),
            captured_minor: payment.captured().amount_minor(),
            refunded_minor: payment.refunded().amount_minor(),
            refunds: capture.map_or_else(Vec::new, |capture| capture.refunds.iter().map(Into::into).collect()),
            hold: payment.state.hold().map(Into::into),
        }
    }
}

impl From<&Refund> for RefundDocument {
    fn from(refund: &Refund) -> Self {
        Self {
            key: refund.key.to_string(),
            fingerprint: refund.fingerprint.map(|fingerprint| fingerprint.to_string()),
            asked_minor: refund.asked.map(|asked| asked.amount_minor()),
            amount_minor: refund.amount.amount_minor(),
            at: refund.at.as_micros(),
            state: match &refund.state {
                RefundState::Pending => RefundStateDocument::Pending,
                RefundState::Refused { at } => RefundStateDocument::Refused { done_at: at.as_micros() },
                RefundState::Done { receipt, at, refunded_after } => RefundStateDocument::Done {
                    receipt: receipt.as_str().to_owned(),
                    done_at: at.as_micros(),
                    refunded_after_minor: refunded_after.amount_minor(),
                },
            },
        }
    }
}

const fn corrupt<E>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |_| StoreError::Corrupt { what }
}

impl TryFrom<Document> for Record {
    type Error = StoreError;

    fn try_from(document: Document) -> Result<Self, StoreError> {
        let key = document.step_key.parse().map_err(corrupt("step_key"))?;
        let id = document.payment_id.parse().map_err(corrupt("payment_id"))?;
        let closed_at = document.closed_at.map(Timestamp::from_micros);
        if document.kind == TOMBSTONE {
            let at = closed_at.ok_or(StoreError::Corrupt { what: "closed_at" })?;
            return Ok(Self::Tombstone { key, at, id });
        }
        let (Some(asked), Some(state)) = (document.asked, document.state) else {
            return Err(StoreError::Corrupt { what: "payment" });
        };
        let currency: Currency = asked.currency.parse().map_err(corrupt("currency"))?;
        Ok(Self::Payment(Payment {
            id,
            charge: Charge {
                key,
                fingerprint: asked.fingerprint.parse().map_err(corrupt("fingerprint"))?,
                order_id: asked.order_id.parse().map_err(corrupt("order_id"))?,
                customer_id: CustomerId::try_new(&asked.customer_id).map_err(corrupt("customer_id"))?,
                amount: Money::new(asked.amount_minor, currency),
                method: PaymentMethod::try_new(&asked.payment_method).map_err(corrupt("payment_method"))?,
                mode: match asked.mode.as_deref() {
                    None => Mode::Charge,
                    Some(AUTHORIZE) => Mode::Authorize,
                    Some(_) => return Err(StoreError::Corrupt { what: "mode" }),
                },
            },
            state: state.read(currency)?,
            barrier: closed_at.map_or(Barrier::Open, |at| Barrier::Closed { at }),
            created_at: Timestamp::from_micros(document.created_at),
            updated_at: Timestamp::from_micros(document.updated_at),
            version: document.version,
        }))
    }
}

impl StateFields {
    fn read(self, currency: Currency) -> Result<State, StoreError> {
        let status = Status::from_name(&self.status).ok_or(StoreError::Corrupt { what: "status" })?;
        let refunded_minor = self.refunded_minor;
        let hold = self.hold.map(|hold| hold.read(currency)).transpose()?;
        let state = match status {
            Status::Pending => State::Pending,
            Status::Authorized => State::Authorized(hold.ok_or(StoreError::Corrupt { what: "hold" })?),
            Status::Voided => State::Voided { hold },
            Status::Declined => {
                let reason = self.decline_reason.as_deref().and_then(DeclineReason::from_name);
                State::Declined { reason: reason.ok_or(StoreError::Corrupt { what: "decline_reason" })? }
            }
            Status::Captured | Status::PartiallyRefunded | Status::Refunded => {
                let (Some(receipt), Some(at)) = (self.receipt, self.captured_at) else {
                    return Err(StoreError::Corrupt { what: "receipt" });
                };
                let refunds = self.refunds.into_iter().map(|refund| refund.read(currency));
                let capture = Capture {
                    amount: Money::new(self.captured_minor, currency),
                    receipt: Receipt::new(receipt),
                    at: Timestamp::from_micros(at),
                    refunds: refunds.collect::<Result<_, _>>()?,
                    hold,
                };
                capture.into()
            }
        };
        // Both are derived from the refunds when written; a document where they differ was not written by us.
        let refunded = state.capture().map_or(0, |capture| capture.refunded().amount_minor());
        if state.status() != status || refunded != refunded_minor {
            return Err(StoreError::Corrupt { what: "refunded_minor" });
        }
        Ok(state)
    }
}

impl RefundDocument {
    fn read(self, currency: Currency) -> Result<Refund, StoreError> {
        Ok(Refund {
            key: self.key.parse().map_err(corrupt("refunds.key"))?,
            fingerprint: self
                .fingerprint
                .map(|text| text.parse())
                .transpose()
                .map_err(corrupt("refunds.fingerprint"))?,
            asked: self.asked_minor.map(|minor| Money::new(minor, currency)),
            amount: Money::new(self.amount_minor, currency),
            at: Timestamp::from_micros(self.at),
            state: match self.state {
                RefundStateDocument::Pending => RefundState::Pending,
                RefundStateDocument::Refused { done_at } => {
                    RefundState::Refused { at: Timestamp::from_micros(done_at) }
                }
                RefundStateDocument::Done { receipt, done_at, refunded_after_minor } => RefundState::Done {
                    receipt: Receipt::new(receipt),
                    at: Timestamp::from_micros(done_at),
                    refunded_after: Money::new(refunded_after_minor, currency),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests;
