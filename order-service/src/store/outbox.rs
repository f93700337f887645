//! The outbox: what happened to an order, kept in its row by the statement that makes it happen, for others to read.
//!
//! The payload is a contract (`tests/golden/*.json`): the domain's events are converted to it by hand, so that refactoring the
//! domain cannot break a reader. No relay is here: readers page over the view `outbox`, and events are kept for a configured time.

use amends_primitives::{Money, OrderId, Timestamp};
use serde_json::{Value, json};

use crate::domain::Event;

/// The order an event is about, as it is after it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its id.
    pub id: OrderId,
    /// Its version.
    pub version: i64,
    /// Who ordered.
    pub customer: String,
    /// What it costs.
    pub total: Money,
    /// When the event happened.
    pub at: Timestamp,
}

/// What others may read of an event.
pub fn payload_of(subject: &Subject, event: &Event) -> Value {
    let mut payload = json!({
        "schema": format!("{}.v1", event.kind()),
        "order_id": subject.id.to_string(),
        "order_version": subject.version,
        "customer_id": subject.customer,
        "at": subject.at.to_string(),
    });
    let facts = match event {
        Event::Placed { lines, total } => json!({
            "total": money(*total),
            "items": lines.iter().map(|line| json!({
                "sku": line.sku.as_str(), "quantity": line.quantity.get(), "unit_price": money(line.unit_price),
            })).collect::<Vec<_>>(),
        }),
        Event::Confirmed { receipt, .. } => json!({
            "total": money(subject.total),
            "payment_id": receipt.payment.to_string(),
            "reservation_id": receipt.reservation.to_string(),
        }),
        Event::Failed { failure, refunded, .. } => json!({
            "code": failure.code.as_str(),
            "refunded_payment_id": refunded.map(|payment| payment.to_string()),
        }),
        Event::CancellationBegun { by } | Event::Cancelled { by } => json!({ "saga_id": by.to_string() }),
        Event::Shipped => json!({}),
    };
    if let (Value::Object(payload), Value::Object(facts)) = (&mut payload, facts) {
        payload.extend(facts);
    }
    payload
}

/// An event as an element of its order's list of them.
pub(super) fn stored(subject: &Subject, event: &Event) -> String {
    let payload = payload_of(subject, event);
    json!({ "version": subject.version, "kind": event.kind(), "at": subject.at.as_micros(), "payload": payload })
        .to_string()
}

fn money(money: Money) -> Value {
    json!({ "amount_minor": money.amount_minor(), "currency": money.currency().code() })
}
