//! The outbox changes with the payment.

use std::{sync::Arc, time::Duration};

use amends_primitives::{ManualClock, PaymentId};
use amends_webhooks::event::Outgoing;
use payment_service::{
    domain::{Event, Payment, Receipt, Record, evolve},
    events::EventType,
    store::{Claimed, StoreError, Swapped},
};

use super::support::{Process, endpoint, only};
use crate::support::{Place, charge_of, now, refund_of, rejection, saga};

pub(super) async fn nothing_is_stored_without_endpoints(place: &Place) {
    let world = place.world().await;
    let payment = world.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    world.payments.refund(&refund_of(&payment, Some(100))).await.unwrap();
    rejection(world.payments.charge(&charge_of(500, "pm_declined")).await);
    assert_eq!(world.opened.webhooks.outbox(100).await.unwrap(), []);

    // Nor of what no endpoint asked for.
    let clock = Arc::new(ManualClock::default());
    let refunds = only(&[EventType::Refunded], endpoint("shop", "http://127.0.0.1:1/"));
    let process = Process::start(place, &clock, vec![refunds]).await;
    let payment = process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    assert_eq!(process.opened.webhooks.outbox(100).await.unwrap(), []);
    clock.advance(Duration::from_secs(7));
    process.payments.refund(&refund_of(&payment, Some(100))).await.unwrap();
    let stored = process.opened.webhooks.outbox(100).await.unwrap();
    let [event] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((event.kind.clone(), event.payment_id), (EventType::Refunded.kind(), Some(payment.id)));
    assert_eq!((event.order_id, event.at), (payment.charge.order_id, now() + Duration::from_secs(7)));
    assert_eq!(event.id, format!("evt_{}_0004", payment.id.as_uuid().simple()));
}

pub(super) async fn an_event_and_its_change_are_stored_together_or_not_at_all(place: &Place) {
    let opened = place.open().await;
    let (store, outbox) = (opened.store, opened.webhooks);
    let first = Payment::intended(PaymentId::new(saga().as_uuid()), charge_of(100, "pm_ok"), now());
    let captured = Event::Captured { amount: first.charge.amount, receipt: Receipt::new("r") };
    let second = evolve(&first, &captured, now()).unwrap();
    let told = payment_service::events::outgoing(&captured, &second).unwrap();

    // No payment to change.
    assert_eq!(store.swap_with_event(&second, Some(&told)).await.unwrap(), Swapped::Lost);
    assert_eq!(outbox.outbox(10).await.unwrap(), []);

    // An event that cannot be stored takes its change with it.
    assert_eq!(store.claim(&Record::Payment(first.clone())).await.unwrap(), Claimed::First);
    let unreadable = Outgoing { body: String::new(), ..told.clone() };
    let refused = store.swap_with_event(&second, Some(&unreadable)).await;
    assert!(matches!(refused, Err(StoreError::Bug(_))), "{refused:?}");
    assert_eq!(store.find(first.id).await.unwrap(), Some(first));
    assert_eq!(outbox.outbox(10).await.unwrap(), []);

    assert_eq!(store.swap_with_event(&second, Some(&told)).await.unwrap(), Swapped::Done);
    assert_eq!(store.swap_with_event(&second, Some(&told)).await.unwrap(), Swapped::Lost, "another write was first");
    assert_eq!(outbox.outbox(10).await.unwrap(), std::slice::from_ref(&told));

    // A swap that read the payment before does not bring back what was told since, and keeps what was not.
    let closed = evolve(&second, &Event::BarrierClosed, now()).unwrap();
    outbox.clear(std::slice::from_ref(&told)).await.unwrap();
    assert_eq!(store.swap(&closed).await.unwrap(), Swapped::Done);
    assert_eq!(outbox.outbox(10).await.unwrap(), []);
    outbox.clear(&[told]).await.unwrap();
    assert_eq!(store.find(second.id).await.unwrap(), Some(closed));
}
