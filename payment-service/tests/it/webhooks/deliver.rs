//! What endpoints are told, how often, and what operators do about those that are not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use amends_primitives::{Clock as _, ManualClock};
use amends_webhooks::{
    config::WebhooksConfig,
    delivery::{Delivery, DeliveryState},
    store::{DeliveryQuery, Redeliver},
};
use payment_service::events::EventType;
use serde_json::json;

use super::support::{Answers, Process, Receiver, endpoint, only};
use crate::support::{Place, charge_of, refund_of, rejection};

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_hours(3);
const PATIENCE: Duration = Duration::from_hours(72);

pub(super) async fn each_endpoint_is_told_what_it_wants_in_signed_calls(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let (shop, books) = (Receiver::start(&clock).await, Receiver::start(&clock).await);
    let endpoints = vec![endpoint("shop", &shop.url), only(&[EventType::Declined], endpoint("books", &books.url))];
    let process = Process::start(place, &clock, endpoints).await;
    let payment = process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    process.payments.refund(&refund_of(&payment, Some(120))).await.unwrap();
    clock.advance(Duration::from_secs(1));
    process.payments.compensate_charge(&payment.charge.key).await.unwrap();
    clock.advance(Duration::from_secs(1));
    rejection(process.payments.charge(&charge_of(500, "pm_insufficient_funds")).await);
    assert_eq!(process.webhooks.relay().await.unwrap(), 4);
    for name in ["shop", "books"] {
        process.webhooks.deliver_due(name).await.unwrap();
    }

    let mut told = shop.received();
    told.sort_by_key(|one| one.json()["timestamp"].to_string());
    let kinds: Vec<_> = told.iter().map(super::support::Received::kind).collect();
    assert_eq!(kinds, ["payment.captured", "payment.refunded", "payment.refunded", "payment.declined"]);
    assert_eq!(told.iter().map(|one| &one.id).collect::<BTreeSet<_>>().len(), 4, "each has an id of its own");
    assert!(told.iter().all(|one| one.timestamp == clock.now().as_secs()), "the time of the attempt");
    let eur = |minor: i64| json!({"amount_minor": minor, "currency": "EUR"});
    let expected = json!({
        "type": "payment.refunded", "version": 1, "timestamp": told[2].json()["timestamp"],
        "data": {
            "payment_id": payment.id.to_string(), "order_id": payment.charge.order_id.to_string(), "customer_id": "demo",
            "status": "refunded", "amount": eur(500), "captured": eur(500), "refunded": eur(500), "refund": eur(380),
        },
    });
    assert_eq!(told[2].json(), expected);
    assert_eq!(told[3].json()["data"]["decline_code"], "insufficient_funds");
    assert_eq!(books.received(), [told[3].clone()], "the same event has the same id everywhere");
    assert_eq!(process.states().await, [DeliveryState::Delivered; 5]);
    assert_eq!(process.opened.webhooks.outbox(10).await.unwrap(), []);
    // Delivered is delivered.
    clock.advance(PATIENCE);
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 4);
}

const STEP: Duration = Duration::from_hours(1);

pub(super) async fn a_clock_set_back_prolongs_no_pause(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    // In the outbox; on its way, and not attempted; waiting for its second attempt; leased by a process that is gone.
    clock.step_back(STEP);
    shop.answers(Answers::With(503));
    process.webhooks.relay().await.unwrap();
    clock.step_back(STEP);
    process.webhooks.deliver_due("shop").await.unwrap();
    let waiting = process.delivery().await;
    assert_eq!((waiting.attempts, waiting.leased), (1, false), "the first attempt waits for nothing: {waiting:?}");
    clock.step_back(STEP);
    process.webhooks.deliver_due("shop").await.unwrap();
    let pause = process.delivery().await.due_at.since(clock.now());
    assert!(pause <= Duration::from_secs(10), "{pause:?}");
    clock.advance(pause);
    shop.answers(Answers::With(204));
    process.webhooks.deliver_due("shop").await.unwrap();
    assert_eq!(process.states().await, [DeliveryState::Delivered]);

    process.payments.charge(&charge_of(700, "pm_ok")).await.unwrap();
    process.webhooks.relay().await.unwrap();
    let store = &process.opened.webhooks;
    let leased = store.claim_due("shop", clock.now(), clock.now() + Duration::from_secs(45)).await.unwrap();
    assert!(leased.is_some(), "it is due");
    clock.step_back(STEP);
    process.webhooks.deliver_due("shop").await.unwrap();
    assert_eq!(shop.received().len(), 2, "its lease has not ended");
    clock.advance(Duration::from_secs(45));
    process.webhooks.deliver_due("shop").await.unwrap();
    assert_eq!(process.states().await, [DeliveryState::Delivered; 2]);
}

pub(super) async fn a_clock_set_forward_loses_no_webhook(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    shop.answers(Answers::With(503));
    process.tell("shop").await;
    clock.step_forward(STEP);
    process.webhooks.deliver_due("shop").await.unwrap();
    let waiting = process.delivery().await;
    assert_eq!((waiting.state, waiting.attempts), (DeliveryState::Pending, 2), "{waiting:?}");
    clock.step_back(STEP);
    process.webhooks.deliver_due("shop").await.unwrap();
    let pause = process.delivery().await.due_at.since(clock.now());
    assert!(pause <= Duration::from_secs(20), "{pause:?}");
}

pub(super) async fn an_endpoint_that_was_down_is_told_once_it_is_up(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    shop.answers(Answers::With(503));
    for attempt in 1..=4 {
        process.tell("shop").await;
        let waiting = process.delivery().await;
        assert_eq!((waiting.state, waiting.attempts, waiting.leased), (DeliveryState::Pending, attempt, false));
        assert_eq!(waiting.answer.as_deref(), Some("status 503"));
        assert!(waiting.due_at <= clock.now() + Duration::from_secs(5) * (1 << (attempt - 1)), "{waiting:?}");
        clock.advance(PAUSE_MAX);
    }
    shop.answers(Answers::With(204));
    process.tell("shop").await;
    clock.advance(PAUSE_MAX);
    process.tell("shop").await;
    let received = shop.received();
    assert_eq!(received.len(), 5, "until it is accepted, and no longer");
    assert!(received.iter().all(|one| (&one.id, &one.body) == (&received[0].id, &received[0].body)), "{received:?}");
    assert_eq!(received.iter().map(|one| one.timestamp).collect::<BTreeSet<_>>().len(), 5, "each is signed anew");
    let delivered = process.delivery().await;
    assert_eq!((delivered.state, delivered.attempts), (DeliveryState::Delivered, 5));
    assert_eq!(delivered.answer.as_deref(), Some("status 204"));
}

pub(super) async fn only_an_accepted_call_is_delivered(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // and dropped
    let config = WebhooksConfig {
        endpoints: vec![endpoint("shop", &shop.url), endpoint("closed", &format!("http://{closed}/"))],
        attempt_timeout_ms: 300,
        ..WebhooksConfig::default()
    };
    let process = Process::configured(place, &clock, &config).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.tell("closed").await;
    let of = async |endpoint: &str| {
        let all = process.deliveries().await;
        all.into_iter().find(|delivery| delivery.endpoint == endpoint).unwrap()
    };
    assert_eq!(of("closed").await.answer.as_deref(), Some("no_connection"));
    for (answers, answer) in [
        // It is not followed, or there would be one more.
        (Answers::Elsewhere, "status 307"),
        (Answers::With(400), "status 400"),
        (Answers::Hangs, "timeout"),
    ] {
        shop.answers(answers);
        process.tell("shop").await;
        let waiting = of("shop").await;
        assert_eq!((waiting.state, waiting.answer.as_deref()), (DeliveryState::Pending, Some(answer)));
        clock.advance(PAUSE_MAX);
    }
    assert_eq!(shop.received().len(), 3);
    // Its status counts; of the rest hardly anything is read.
    shop.answers(Answers::Endlessly);
    process.tell("shop").await;
    assert_eq!(of("shop").await.state, DeliveryState::Delivered);
}

pub(super) async fn a_pause_that_is_asked_for_is_kept(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    shop.answers(Answers::After(429, 7200));
    process.tell("shop").await;
    assert_eq!(process.delivery().await.due_at, clock.now() + Duration::from_hours(2));
    clock.advance(Duration::from_hours(2) - Duration::from_secs(1));
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 1);
    clock.advance(Duration::from_secs(1));
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 2);
}

/// Fails until it is dead.
async fn die(process: &Process, receiver: &Receiver) {
    receiver.answers(Answers::With(500));
    process.tell("shop").await;
    process.clock.advance(PATIENCE);
    process.tell("shop").await;
}

pub(super) async fn a_dead_letter_waits_for_an_operator(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    die(&process, &shop).await;
    let dead = process.delivery().await;
    assert_eq!((dead.state, dead.attempts, dead.done_at), (DeliveryState::Dead, 2, Some(clock.now())));
    assert!(process.runtime.metrics.encode().contains("webhook_dead_total{endpoint=\"shop\"} 1"));
    shop.answers(Answers::With(200));
    clock.advance(PATIENCE);
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 2, "the dead are left alone");

    let store = &process.opened.webhooks;
    let redeliver =
        |endpoint: Option<&str>| Redeliver::Event { id: dead.event_id.clone(), endpoint: endpoint.map(str::to_owned) };
    assert_eq!(store.redeliver(&redeliver(Some("nobody")), clock.now(), 10).await.unwrap(), 0);
    assert_eq!(store.redeliver(&redeliver(None), clock.now(), 10).await.unwrap(), 1);
    process.tell("shop").await;
    let received = shop.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|one| one.id == dead.event_id && one.body == dead.body), "{received:?}");
    let delivered = process.delivery().await;
    assert_eq!((delivered.state, delivered.attempts, delivered.tries), (DeliveryState::Delivered, 3, 1));

    // What was delivered can be asked for once more, where the receiver has lost it.
    assert_eq!(store.redeliver(&redeliver(Some("shop")), clock.now(), 10).await.unwrap(), 1);
    process.tell("shop").await;
    assert_eq!(shop.received()[3].id, dead.event_id);
    assert_eq!(process.states().await, [DeliveryState::Delivered]);
}

pub(super) async fn an_endpoint_that_is_gone_is_left_alone(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    shop.answers(Answers::With(410));
    process.tell("shop").await;
    assert_eq!(process.states().await, [DeliveryState::Dead]);
    clock.advance(PAUSE_MAX);
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 1);
}

pub(super) async fn all_dead_letters_of_an_endpoint_are_redelivered_at_once(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    for _ in 0..5 {
        process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    }
    shop.answers(Answers::With(410));
    process.tell("shop").await;
    assert_eq!(process.states().await, [DeliveryState::Dead; 5]);
    clock.advance(Duration::from_secs(1));
    let dead = |endpoint: &str| Redeliver::Dead { endpoint: endpoint.into(), before: clock.now() };
    let store = &process.opened.webhooks;
    assert_eq!(store.redeliver(&dead("nobody"), clock.now(), 2).await.unwrap(), 0);
    let batches = [2, 2, 1, 0];
    for batch in batches {
        assert_eq!(store.redeliver(&dead("shop"), clock.now(), 2).await.unwrap(), batch);
    }
    assert_eq!(process.states().await, [DeliveryState::Pending; 5]);
    // One that dies again meanwhile is not asked for again by the same wish.
    process.tell("shop").await;
    assert_eq!(store.redeliver(&dead("shop"), clock.now(), 10).await.unwrap(), 0);
    assert_eq!(process.states().await, [DeliveryState::Dead; 5]);
}

pub(super) async fn deliveries_are_filtered_and_paged(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let (shop, books) = (Receiver::start(&clock).await, Receiver::start(&clock).await);
    let endpoints = vec![endpoint("shop", &shop.url), endpoint("books", &books.url)];
    let process = Process::start(place, &clock, endpoints).await;
    let one = process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    let other = process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.payments.refund(&refund_of(&one, None)).await.unwrap();
    process.tell("books").await; // and not to the shop
    let store = &process.opened.webhooks;
    let list = async |query: DeliveryQuery| {
        let mut all: Vec<Delivery> = Vec::new();
        for limit in [1, 4, 500] {
            let mut query = DeliveryQuery { limit, ..query.clone() };
            let mut read = Vec::new();
            loop {
                let (page, more) = store.deliveries(&query).await.unwrap();
                assert!(page.len() <= limit as usize);
                read.extend(page);
                if !more {
                    break;
                }
                query.after = read.last().map(Delivery::id);
            }
            assert!(all.is_empty() || all == read, "pages of {limit} say otherwise");
            all = read;
        }
        all.iter().map(Delivery::id).collect::<Vec<_>>()
    };
    let all = list(DeliveryQuery::default()).await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by(|before, after| before > after), "newest payments first: {all:?}");
    let about = |id: &amends_primitives::PaymentId| format!("evt_{}_", id.as_uuid().simple());
    let filtered =
        |wanted: &dyn Fn(&str) -> bool| -> Vec<String> { all.iter().filter(|id| wanted(id)).cloned().collect() };
    let of_one = list(DeliveryQuery { payment_id: Some(one.id), ..DeliveryQuery::default() }).await;
    assert_eq!(of_one, filtered(&|id| id.starts_with(&about(&one.id))));
    assert_eq!(of_one.len(), 4);
    let order_id = Some(other.charge.order_id);
    let of_order = list(DeliveryQuery { order_id, ..DeliveryQuery::default() }).await;
    assert_eq!(of_order, filtered(&|id| id.starts_with(&about(&other.id))));
    let pending = DeliveryQuery { state: Some(DeliveryState::Pending), ..DeliveryQuery::default() };
    assert_eq!(list(pending.clone()).await, filtered(&|id| id.ends_with("/shop")));
    let at_books = DeliveryQuery { endpoint: Some("books".into()), ..DeliveryQuery::default() };
    assert_eq!(list(at_books).await, filtered(&|id| id.ends_with("/books")));
    let none = DeliveryQuery { endpoint: Some("books".into()), ..pending };
    assert_eq!(list(none).await, Vec::<String>::new());
}

pub(super) async fn old_deliveries_are_forgotten(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.tell("shop").await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    shop.answers(Answers::With(410));
    process.tell("shop").await;
    shop.answers(Answers::With(500));
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.tell("shop").await;
    clock.advance(Duration::from_hours(30 * 24));
    process.webhooks.forget().await.unwrap();
    assert_eq!(process.deliveries().await.len(), 3, "kept for thirty days");
    clock.advance(Duration::from_secs(1));
    process.webhooks.forget().await.unwrap();
    assert_eq!(process.states().await, [DeliveryState::Pending], "what is not over is not forgotten");
}
