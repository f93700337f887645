//! How a record is written down: one flat document, the same fields in MongoDB and as columns in SQLite. Persisted, so a contract:
//! fields are added, never renamed (`tests/golden`).
//!
//! Must not know: drivers.

use amends_primitives::{Currency, Money, Timestamp};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::{
    Barrier, Capture, Charge, CustomerId, DeclineReason, Payment, PaymentMethod, Receipt, Record, Refund, RefundState,
    State, Status,
};

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

/// What the charge asked for: never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskedFields {
    pub(crate) fingerprint: String,
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) payment_method: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
}

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
        let state = match status {
            Status::Pending => State::Pending,
            Status::Voided => State::Voided,
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
                };
                capture.into_state()
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
mod tests {
    use amends_primitives::{OrderId, PaymentId, SagaId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Event, Fingerprint, RefundKey, StepKey};

    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn step(name: &str) -> StepKey {
        StepKey::try_new(SagaId::new(Uuid::from_u128(1)), name).unwrap()
    }

    fn pending(minor: i64) -> Payment {
        let charge = Charge {
            key: step("charge_payment"),
            fingerprint: Fingerprint::new([0xAB; 32]),
            order_id: OrderId::new(Uuid::from_u128(2)),
            customer_id: CustomerId::try_new("demo").unwrap(),
            amount: Money::new(minor, Currency::EUR),
            method: PaymentMethod::try_new("pm_ok").unwrap(),
        };
        Payment::intended(PaymentId::new(Uuid::from_u128(3)), charge, AT)
    }

    fn life(payment: Payment, events: &[Event]) -> Payment {
        events.iter().fold(payment, |payment, event| payment.apply(event, AT).unwrap())
    }

    /// What is stored stays readable, and is written the same for ever: old documents outlive every version of this code.
    fn check(golden: &str, record: &Record) {
        let written = serde_json::to_value(Document::from(record)).unwrap();
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        assert_eq!(written, golden, "{}", serde_json::to_string_pretty(&written).unwrap());
        let read: Document = serde_json::from_value(golden).unwrap();
        assert_eq!(Record::try_from(read).unwrap(), *record);
    }

    #[test]
    fn a_payment_with_everything_is_written_as_ever() {
        let (part, refused) = (RefundKey::Step(step("refund_payment")), RefundKey::Step(step("refund_more")));
        let undo = RefundKey::Undo(step("charge_payment"));
        let (fingerprint, amount) = (Some(Fingerprint::new([1; 32])), |minor| Money::new(minor, Currency::EUR));
        let asked = |key, asked, amount| Event::RefundAsked { key, fingerprint, asked, amount };
        let payment = life(
            pending(3700),
            &[
                Event::Captured { amount: amount(3700), receipt: Receipt::new("charge-1") },
                asked(part.clone(), Some(amount(700)), amount(700)),
                Event::RefundDone { key: part, receipt: Receipt::new("refund-1") },
                asked(refused.clone(), None, amount(3000)),
                Event::RefundRefused { key: refused },
                Event::BarrierClosed,
                Event::RefundAsked { key: undo, fingerprint: None, asked: None, amount: amount(3000) },
            ],
        );
        check(include_str!("../../tests/golden/payment.v1.json"), &Record::Payment(payment));
    }

    #[test]
    fn a_declined_payment_is_written_as_ever() {
        let declined = life(pending(5), &[Event::Declined { reason: DeclineReason::InsufficientFunds }]);
        check(include_str!("../../tests/golden/declined.v1.json"), &Record::Payment(declined));
    }

    #[test]
    fn a_tombstone_is_written_as_ever() {
        let tombstone =
            Record::Tombstone { key: step("charge_payment"), at: AT, id: PaymentId::new(Uuid::from_u128(3)) };
        check(include_str!("../../tests/golden/tombstone.v1.json"), &tombstone);
    }

    #[test]
    fn what_was_not_written_by_us_is_not_believed() {
        let captured = Event::Captured { amount: Money::new(5, Currency::EUR), receipt: Receipt::new("r") };
        let good = Document::from(&life(pending(5), &[captured]));
        let corrupt = |change: fn(&mut Document, &mut StateFields)| {
            let mut document = good.clone();
            let mut state = document.state.take().unwrap();
            change(&mut document, &mut state);
            document.state = Some(state);
            match Record::try_from(document) {
                Err(StoreError::Corrupt { what }) => what,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(corrupt(|document, _| document.step_key = "x".into()), "step_key");
        assert_eq!(corrupt(|document, _| document.payment_id = "x".into()), "payment_id");
        assert_eq!(corrupt(|document, _| document.asked = None), "payment");
        assert_eq!(corrupt(|_, state| state.status = "paid".into()), "status");
        assert_eq!(corrupt(|_, state| state.receipt = None), "receipt");
        assert_eq!(corrupt(|_, state| state.refunded_minor = 5), "refunded_minor");
        assert_eq!(corrupt(|_, state| state.status = "refunded".into()), "refunded_minor");
        assert_eq!(corrupt(|_, state| state.status = "declined".into()), "decline_reason");
    }
}
