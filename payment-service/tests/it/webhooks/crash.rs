//! Processes that stop anywhere, and processes that meet.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use amends_primitives::{Clock as _, ManualClock};
use amends_webhooks::{
    delivery::{AttemptOutcome, DeliveryState, Next},
    store::NewDelivery,
};
use payment_service::domain::{Record, Status};

use super::support::{Process, Receiver, endpoint};
use crate::{
    crash::{doomed, until_stop},
    support::{Place, World, charge_of},
};

pub(super) async fn a_crash_anywhere_leaves_event_and_change_together(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    let world = World { opened: process.opened.clone(), payments: process.payments.clone() };
    let mut told = BTreeSet::new();
    for crash in 0.. {
        let charge = charge_of(500, "pm_ok");
        let (mut dying, stop) = doomed(&world, crash);
        dying.outbox = process.webhooks.outbox();
        let stopped = until_stop(&stop, dying.charge(&charge)).await;
        let captured = match process.opened.store.load(&charge.key).await.unwrap() {
            Some(Record::Payment(payment)) => payment.status() == Status::Captured,
            _ => false,
        };
        let events = process.opened.webhooks.outbox(100).await.unwrap();
        let of_this: Vec<_> = events.iter().filter(|event| event.order_id == charge.order_id).collect();
        assert_eq!(of_this.len(), usize::from(captured), "crash {crash}: {of_this:?}");
        // The repeat finishes it, and tells of it once.
        let payment = process.payments.charge(&charge).await.unwrap();
        process.payments.charge(&charge).await.unwrap();
        told.insert(format!("evt_{}_0002", payment.id.as_uuid().simple()));
        if !stopped {
            break;
        }
    }
    process.tell("shop").await;
    let received = shop.received();
    assert_eq!(received.len(), told.len());
    assert_eq!(received.into_iter().map(|one| one.id).collect::<BTreeSet<_>>(), told);
}

pub(super) async fn what_a_crashed_process_left_is_told_by_the_next(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let endpoints = vec![endpoint("shop", &shop.url)];
    let first = Process::start(place, &clock, endpoints.clone()).await;
    // Stopped after the change: the event is there.
    first.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    // Stopped after the deliveries were made: the event is still there as well.
    first.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    let events = first.opened.webhooks.outbox(10).await.unwrap();
    let made = NewDelivery { event: &events[1], endpoint: "shop", at: clock.now() };
    first.opened.webhooks.enqueue(&[made]).await.unwrap();
    let Process { opened, .. } = first;
    opened.store.close().await;

    let second = Process::start(place, &clock, endpoints).await;
    second.tell("shop").await;
    let mut told: Vec<String> = shop.received().into_iter().map(|one| one.id).collect();
    told.sort();
    let mut wanted: Vec<String> = events.into_iter().map(|event| event.id).collect();
    wanted.sort();
    assert_eq!(told, wanted, "each, and once");
    assert_eq!(second.states().await, [DeliveryState::Delivered; 2]);
    assert_eq!(second.opened.webhooks.outbox(10).await.unwrap(), []);
}

pub(super) async fn an_attempt_that_crashed_is_made_again_when_its_lease_ends(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.webhooks.relay().await.unwrap();
    // A process claims it and is gone, before or after it has sent it.
    let lease = Duration::from_secs(45);
    let store = &process.opened.webhooks;
    let claimed = store.claim_due("shop", clock.now(), clock.now() + lease).await.unwrap().unwrap();
    assert_eq!((claimed.attempts, claimed.leased), (1, true));
    process.tell("shop").await;
    assert_eq!(shop.received(), [], "somebody has it");
    assert_eq!(store.backlog("shop").await.unwrap().next_due, Some(clock.now() + lease));
    clock.advance(lease);
    process.tell("shop").await;
    assert_eq!(shop.received().len(), 1);
    let delivered = process.delivery().await;
    assert_eq!((delivered.state, delivered.attempts), (DeliveryState::Delivered, 2));
    assert_eq!(shop.received()[0].id, claimed.event_id);
}

/// Few: the test's MongoDB syncs each of their writes by itself.
const EVENTS: usize = 8;

pub(super) async fn two_processes_at_once_tell_once(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let one = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    // SQLite is one process's; its second set of workers shares the store.
    let other = match place {
        Place::Sqlite(_) => one.clone(),
        Place::Mongo { .. } => Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await,
    };
    for _ in 0..EVENTS {
        one.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    }
    tokio::join!(one.tell("shop"), other.tell("shop"), other.tell("shop"));
    one.tell("shop").await;
    let ids: Vec<String> = shop.received().into_iter().map(|one| one.id).collect();
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (EVENTS, EVENTS));
    assert_eq!(one.states().await, [DeliveryState::Delivered; EVENTS]);
}

pub(super) async fn a_late_answer_changes_nothing(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let shop = Receiver::start(&clock).await;
    let process = Process::start(place, &clock, vec![endpoint("shop", &shop.url)]).await;
    process.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    process.webhooks.relay().await.unwrap();
    let store = &process.opened.webhooks;
    let lease = Duration::from_secs(45);
    let slow = store.claim_due("shop", clock.now(), clock.now() + lease).await.unwrap().unwrap();
    clock.advance(lease);
    let quick = store.claim_due("shop", clock.now(), clock.now() + lease).await.unwrap().unwrap();
    let settled = |next| AttemptOutcome { next, at: clock.now(), answer: "test".into() };
    // The slow one's failure is not the quick one's.
    for next in [Next::Dead, Next::Retry { at: clock.now() }] {
        assert!(!store.settle(&slow, &settled(next)).await.unwrap());
    }
    assert_eq!(process.delivery().await, quick);
    // That it was accepted counts, whichever attempt reports it, and then nothing else does.
    assert!(store.settle(&slow, &settled(Next::Delivered)).await.unwrap());
    assert!(!store.settle(&quick, &settled(Next::Dead)).await.unwrap());
    assert_eq!(process.states().await, [DeliveryState::Delivered]);
}
