//! What is told, and in which words: the body of a webhook, made once, when the payment changes, so that every attempt sends the
//! same bytes. Persisted and published, so a contract: fields are added, never renamed; another meaning is another version.
//!
//! Must not know: endpoints, HTTP, stores. Holds no payment method and no processor's reference.

use amends_primitives::{Money, PaymentId};
use amends_webhooks::{
    event::{EventKind, Outgoing},
    outbox::Outbox,
};
use serde::{Deserialize, Serialize};

use crate::domain::{Event, Payment, RefundState, State};

/// The version of the body.
const VERSION: u32 = 1;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// The money was taken.
    #[serde(rename = "payment.captured")]
    Captured,
    /// Some of it, or all, was given back.
    #[serde(rename = "payment.refunded")]
    Refunded,
    /// The processor refused a charge or an authorization: nothing was taken.
    #[serde(rename = "payment.declined")]
    Declined,
}

amends_primitives::words!(
    EventType,
    /// The name that is sent, stored and configured.
    name {
        Captured => "payment.captured",
        Refunded => "payment.refunded",
        Declined => "payment.declined",
    }
);

impl EventType {
    /// As webhooks know it.
    pub const fn kind(self) -> EventKind {
        EventKind::new(self.name())
    }

    /// All of them, as webhooks know them.
    pub const KINDS: [EventKind; 3] = [Self::Captured.kind(), Self::Refunded.kind(), Self::Declined.kind()];

    /// What an event of the payment is told as; most are not told at all.
    pub const fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Captured { .. } => Some(Self::Captured),
            Event::RefundDone { .. } => Some(Self::Refunded),
            Event::Declined { .. } => Some(Self::Declined),
            Event::Authorized { .. }
            | Event::SettlementAsked { .. }
            | Event::CaptureRefused { .. }
            | Event::Voided
            | Event::BarrierClosed
            | Event::RefundAsked { .. }
            | Event::RefundRefused { .. } => None,
        }
    }
}

amends_primitives::display_as!(EventType => name);

/// What must be stored in the same write as `next`, which came about by `event`; `None` where no endpoint is told of such.
pub fn event_to_store(outbox: &Outbox, event: &Event, next: &Payment) -> Option<Outgoing> {
    EventType::of(event).filter(|kind| outbox.wants(&kind.kind()))?;
    outgoing(event, next)
}

/// What is to be told of `next`, which came about by `event`. Its id is made of the payment and its version, of which there is one, so
/// that nothing that is done twice tells of it under two names.
pub fn outgoing(event: &Event, next: &Payment) -> Option<Outgoing> {
    let kind = EventType::of(event)?;
    Some(Outgoing {
        id: format!("{}{:04}", id_prefix(next.id), next.version),
        kind: kind.kind(),
        at: next.updated_at,
        payment_id: Some(next.id),
        order_id: next.charge.order_id,
        body: body(kind, event, next),
    })
}

/// What the ids of all webhooks about a payment begin with. Without a full stop, which separates what is signed.
pub(crate) fn id_prefix(payment: PaymentId) -> String {
    format!("evt_{}_", payment.as_uuid().simple())
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: EventType,
    version: u32,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    payment_id: String,
    order_id: String,
    customer_id: &'a str,
    status: &'static str,
    amount: Amount,
    captured: Amount,
    refunded: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
}

#[derive(Serialize)]
struct Amount {
    amount_minor: i64,
    currency: String,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
    }
}

fn body(kind: EventType, event: &Event, payment: &Payment) -> String {
    let refund = match event {
        Event::RefundDone { key, .. } => payment.state.capture().and_then(|capture| capture.refund(key)),
        _ => None,
    };
    let body = Body {
        r#type: kind,
        version: VERSION,
        timestamp: payment.updated_at.to_string(),
        data: Data {
            payment_id: payment.id.to_string(),
            order_id: payment.charge.order_id.to_string(),
            customer_id: payment.charge.customer_id.as_str(),
            status: payment.status().name(),
            amount: payment.charge.amount.into(),
            captured: payment.captured().into(),
            refunded: payment.refunded().into(),
            refund: refund
                .filter(|refund| matches!(refund.state, RefundState::Done { .. }))
                .map(|refund| refund.amount.into()),
            decline_code: match &payment.state {
                State::Declined { reason } => Some(reason.name()),
                _ => None,
            },
        },
    };
    // Fails for maps whose keys are no text, and there are none.
    serde_json::to_string(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests;
