//! How events and deliveries are written down: the same fields in MongoDB and as columns in SQLite. Persisted, so a contract.
//!
//! An event is not part of [`Document`](super::Document): it is appended to the payment's record and taken out again beside its
//! versions, so that a swap which read the record before does not bring it back.
//!
//! Must not know: drivers.

use amends_primitives::{PaymentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{StoreError, corrupt};
use crate::events::EventType;
use amends_webhooks::{
    delivery::{AttemptOutcome, Delivery, DeliveryState, Next, delivery_id},
    event::Outgoing,
    store::NewDelivery,
};

/// An event in the outbox. Which payment and order it is about, the record around it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutgoingDocument {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) at: i64,
    pub(crate) body: String,
}

impl From<&Outgoing> for OutgoingDocument {
    fn from(event: &Outgoing) -> Self {
        Self {
            id: event.id.clone(),
            kind: event.kind.name().to_owned(),
            at: event.at.as_micros(),
            body: event.body.clone(),
        }
    }
}

impl OutgoingDocument {
    pub(crate) fn read(self, payment_id: &str, order_id: &str) -> Result<Outgoing, StoreError> {
        Ok(Outgoing {
            id: self.id,
            kind: EventType::from_name(&self.kind).ok_or(StoreError::Corrupt { what: "outbox.kind" })?.kind(),
            at: Timestamp::from_micros(self.at),
            payment_id: Some(payment_id.parse().map_err(corrupt("payment_id"))?),
            order_id: order_id.parse().map_err(corrupt("order_id"))?,
            body: self.body,
        })
    }
}

/// A delivery. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryDocument {
    /// `EVENT/ENDPOINT`: begins with the payment, so the deliveries of one payment are a range of keys.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) event_id: String,
    pub(crate) endpoint: String,
    pub(crate) kind: String,
    pub(crate) payment_id: String,
    pub(crate) order_id: String,
    pub(crate) body: String,
    pub(crate) created_at: i64,
    pub(crate) began_at: i64,
    pub(crate) state: String,
    pub(crate) due_at: i64,
    pub(crate) leased: bool,
    pub(crate) attempts: i64,
    pub(crate) tries: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempted_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) done_at: Option<i64>,
}

/// Whose outbox it was in: here events are about payments.
pub(crate) fn payment_of(event: &Outgoing) -> Result<PaymentId, StoreError> {
    event.payment_id.ok_or(StoreError::Corrupt { what: "outbox.payment_id" })
}

impl TryFrom<&NewDelivery<'_>> for DeliveryDocument {
    type Error = StoreError;

    fn try_from(new: &NewDelivery<'_>) -> Result<Self, StoreError> {
        let NewDelivery { event, endpoint, at } = new;
        Ok(Self {
            id: delivery_id(&event.id, endpoint),
            event_id: event.id.clone(),
            endpoint: (*endpoint).to_owned(),
            kind: event.kind.name().to_owned(),
            payment_id: payment_of(event)?.to_string(),
            order_id: event.order_id.to_string(),
            body: event.body.clone(),
            created_at: event.at.as_micros(),
            began_at: at.as_micros(),
            state: DeliveryState::Pending.name().to_owned(),
            due_at: at.as_micros(),
            leased: false,
            attempts: 0,
            tries: 0,
            attempted_at: None,
            answer: None,
            done_at: None,
        })
    }
}

impl TryFrom<DeliveryDocument> for Delivery {
    type Error = StoreError;

    fn try_from(document: DeliveryDocument) -> Result<Self, StoreError> {
        Ok(Self {
            kind: EventType::from_name(&document.kind).ok_or(StoreError::Corrupt { what: "kind" })?.kind(),
            payment_id: Some(document.payment_id.parse().map_err(corrupt("payment_id"))?),
            order_id: document.order_id.parse().map_err(corrupt("order_id"))?,
            state: DeliveryState::from_name(&document.state).ok_or(StoreError::Corrupt { what: "state" })?,
            event_id: document.event_id,
            endpoint: document.endpoint,
            body: document.body,
            created_at: Timestamp::from_micros(document.created_at),
            began_at: Timestamp::from_micros(document.began_at),
            due_at: Timestamp::from_micros(document.due_at),
            leased: document.leased,
            attempts: document.attempts,
            tries: document.tries,
            attempted_at: document.attempted_at.map(Timestamp::from_micros),
            answer: document.answer,
            done_at: document.done_at.map(Timestamp::from_micros),
        })
    }
}

/// What a settlement changes.
pub(crate) struct SettledFields {
    pub(crate) state: &'static str,
    /// `None` leaves it.
    pub(crate) due_at: Option<i64>,
    pub(crate) done_at: Option<i64>,
    /// Whether only the newest attempt may say so. An endpoint that accepted has accepted, whichever attempt asked it.
    pub(crate) newest_only: bool,
}

impl From<&AttemptOutcome> for SettledFields {
    fn from(settlement: &AttemptOutcome) -> Self {
        let at = settlement.at.as_micros();
        let (state, due_at, done_at) = match settlement.next {
            Next::Delivered => (DeliveryState::Delivered, None, Some(at)),
            Next::Retry { at } => (DeliveryState::Pending, Some(at.as_micros()), None),
            Next::Dead => (DeliveryState::Dead, None, Some(at)),
        };
        Self { state: state.name(), due_at, done_at, newest_only: state != DeliveryState::Delivered }
    }
}

/// From the first key of a payment's deliveries to the first that is not.
pub(crate) fn ids_of_payment(payment: PaymentId) -> (String, String) {
    let from = crate::events::id_prefix(payment);
    // `_` is the last character; the next one ends the range.
    let to = format!("{}`", from.trim_end_matches('_'));
    (from, to)
}

/// From the first key of an event's deliveries to the first that is not.
pub(crate) fn ids_of_event(event_id: &str) -> (String, String) {
    (format!("{event_id}/"), format!("{event_id}0")) // `0` follows `/`
}
