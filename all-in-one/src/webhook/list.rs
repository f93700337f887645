//! `amends webhook list`. Without the bodies: they are the receivers' business.

use amends_primitives::{Clock, SystemClock, Timestamp};
use amends_webhooks::{
    delivery::{Delivery, DeliveryState},
    store::{DeliveryQuery, WebhookStore},
};
use anyhow::Context;
use serde_json::{Value, json};

use super::ListArgs;
use crate::{
    saga::{Told, spoken},
    table::{Align, draw},
};

const COLUMNS: [(&str, Align); 8] = [
    ("webhook", Align::Left),
    ("endpoint", Align::Left),
    ("event", Align::Left),
    ("order", Align::Left),
    ("state", Align::Left),
    ("attempts", Align::Right),
    ("age", Align::Right),
    ("last answer", Align::Left),
];

pub(super) async fn run(
    store: &dyn WebhookStore<Error = payment_service::StoreError>,
    args: ListArgs,
    json: bool,
) -> anyhow::Result<Told> {
    let query = DeliveryQuery {
        state: args.state,
        endpoint: args.endpoint,
        order_id: args.order,
        payment_id: args.payment,
        after: args.cursor,
        limit: args.limit,
    };
    let (deliveries, more) = store.deliveries(&query).await.context("the payment store could not be read")?;
    let next = if more { deliveries.last().map(Delivery::id) } else { None };
    if json {
        let deliveries: Vec<Value> = deliveries.iter().map(to_json).collect();
        let answer = json!({"deliveries": deliveries, "next_cursor": next});
        return Ok(Told::good(format!("{answer:#}\n")));
    }
    let now = SystemClock.now();
    let rows: Vec<Vec<String>> = deliveries.iter().map(|delivery| cells(delivery, now)).collect();
    let more = next.map_or_else(String::new, |next| format!("go on with --cursor {next}\n"));
    Ok(Told::good(if rows.is_empty() { "no such webhook\n".to_owned() } else { draw("", &COLUMNS, &rows) + &more }))
}

fn cells(delivery: &Delivery, now: Timestamp) -> Vec<String> {
    let answer = delivery.answer.clone().unwrap_or_default();
    let next = match delivery.state {
        DeliveryState::Pending if delivery.leased => ", being tried".to_owned(),
        DeliveryState::Pending if delivery.due_at > now => format!(", again in {}", spoken(delivery.due_at.since(now))),
        DeliveryState::Pending | DeliveryState::Delivered | DeliveryState::Dead => String::new(),
    };
    vec![
        delivery.event_id.clone(),
        delivery.endpoint.clone(),
        delivery.kind.to_string(),
        delivery.order_id.to_string(),
        delivery.state.name().to_owned(),
        delivery.attempts.to_string(),
        spoken(now.since(delivery.created_at)),
        (answer + &next).trim_start_matches(", ").to_owned(),
    ]
}

fn to_json(delivery: &Delivery) -> Value {
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let pending = delivery.state == DeliveryState::Pending;
    json!({
        "id": delivery.event_id, "endpoint": delivery.endpoint, "event": delivery.kind.name(),
        "payment_id": delivery.payment_id.map(|id| id.to_string()), "order_id": delivery.order_id.to_string(),
        "state": delivery.state.name(), "attempts": delivery.attempts, "last_answer": delivery.answer,
        "being_tried": delivery.leased, "due_at": at(pending.then_some(delivery.due_at)),
        "created_at": delivery.created_at.to_string(), "attempted_at": at(delivery.attempted_at), "done_at": at(delivery.done_at),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use amends_primitives::{OrderId, PaymentId};
    use payment_service::events::EventType;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_says_what_happens_next_and_never_what_was_sent() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut delivery = Delivery {
            event_id: "evt_3_0002".into(),
            endpoint: "shop".into(),
            kind: EventType::Captured.kind(),
            payment_id: Some(PaymentId::new(Uuid::from_u128(3))),
            order_id: OrderId::new(Uuid::from_u128(2)),
            body: "what was sent".into(),
            created_at: now - Duration::from_secs(61),
            began_at: now,
            state: DeliveryState::Pending,
            due_at: now + Duration::from_secs(30),
            leased: false,
            attempts: 2,
            tries: 2,
            attempted_at: Some(now),
            answer: Some("status 503".into()),
            done_at: None,
        };
        assert_eq!(cells(&delivery, now)[5..], ["2", "1m 1s", "status 503, again in 30s"]);
        assert_eq!(to_json(&delivery)["due_at"], "2023-11-14T22:13:50.000000Z");
        assert!(!to_json(&delivery).to_string().contains("what was sent"));
        delivery.leased = true;
        delivery.answer = None;
        assert_eq!(cells(&delivery, now)[7], "being tried");
        delivery.state = DeliveryState::Dead;
        assert_eq!((&*cells(&delivery, now)[7], to_json(&delivery)["due_at"].is_null()), ("", true));
    }
}
