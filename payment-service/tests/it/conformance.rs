//! What every store must do, with the use cases on top: one list of cases, run on every backend.
//! One file although it is long, because it is one list.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use amends_primitives::PaymentId;
use futures::future::join_all;
use payment_service::{
    app::{Error, Failure},
    domain::{
        Barrier, Capture, Charge, Compensated, DeclineReason, Event, Mode, Payment, Receipt, Record, RefundKey,
        Rejection, State, Status, evolve,
    },
    processor::{Unknown, simulated::SimulatedProcessor},
    store::{Claimed, ListQuery, PaymentStore, StoreError, Swapped},
};
use uuid::Uuid;

use crate::support::{
    Place, REPEATS, charge_of, eur, fingerprint, now, on_every_backend, payments, refund_of, rejection, repeat, rounds,
    rules, saga, step,
};

on_every_backend![
    migrating_again_changes_nothing,
    a_key_is_claimed_once,
    a_swap_needs_the_version_it_read,
    a_refund_key_belongs_to_one_payment,
    what_is_written_is_what_is_read,
    concurrent_repeats_of_a_charge_have_one_effect_and_answer,
    concurrent_repeats_of_a_refund_have_one_effect_and_answer,
    concurrent_repeats_of_a_compensation_have_one_effect,
    each_payment_method_does_what_it_says,
    a_declined_charge_stays_declined,
    the_same_key_for_another_request_is_refused,
    a_charge_after_its_compensation_is_refused,
    a_compensation_after_its_charge_gives_all_back,
    a_compensation_racing_its_charge_leaves_nothing_taken,
    a_compensation_gives_back_what_partial_refunds_left,
    a_compensation_racing_refunds_leaves_nothing_taken,
    partial_refunds_racing_never_exceed_what_was_captured,
    a_refund_is_refused_where_there_is_nothing_to_give_back,
    a_repeat_is_answered_with_what_was_true_then,
    the_processor_remembers_over_a_restart,
    an_answer_that_never_comes_is_unknown_and_can_be_undone,
    a_flaky_processor_is_asked_again_under_the_same_key,
    lists_are_filtered_and_paged_in_the_order_of_ids,
    a_span_of_time_is_listed_in_the_order_of_times,
];

async fn migrating_again_changes_nothing(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(100, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let again = join_all((0..4).map(|_| world.opened.store.migrate())).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert_eq!(world.payments.get(payment.id).await.unwrap(), payment);
    world.opened.store.ping().await.unwrap();
}

async fn a_key_is_claimed_once(place: &Place) {
    let store = place.open().await.store;
    let charge = charge_of(100, "pm_ok");
    let claims = (0..REPEATS).map(|_| {
        let (store, charge) = (Arc::clone(&store), charge.clone());
        tokio::spawn(async move {
            let mine = Record::Payment(Payment::intended(PaymentId::new(saga().as_uuid()), charge, now()));
            (store.claim(&mine).await.unwrap(), mine)
        })
    });
    let claims: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
    let firsts: Vec<_> = claims.iter().filter(|(claimed, _)| *claimed == Claimed::First).collect();
    assert_eq!(firsts.len(), 1);
    for (claimed, _) in &claims {
        if let Claimed::Taken(record) = claimed {
            assert_eq!(**record, firsts[0].1);
        }
    }
    assert_eq!(store.load(&charge.key).await.unwrap().as_ref(), Some(&firsts[0].1));
    assert_eq!(store.load(&step(saga(), "charge_payment")).await.unwrap(), None);
}

fn intended(minor: i64) -> Payment {
    Payment::intended(PaymentId::new(saga().as_uuid()), charge_of(minor, "pm_ok"), now())
}

fn captured(payment: &Payment) -> Payment {
    evolve(payment, &Event::Captured { amount: payment.charge.amount, receipt: Receipt::new("r") }, now()).unwrap()
}

fn refunding(payment: &Payment, key: RefundKey, minor: i64) -> Payment {
    let event =
        Event::RefundAsked { key, fingerprint: Some(fingerprint(7)), asked: Some(eur(minor)), amount: eur(minor) };
    evolve(payment, &event, now()).unwrap()
}

async fn a_swap_needs_the_version_it_read(place: &Place) {
    let store = place.open().await.store;
    let first = intended(100);
    let second = captured(&first);
    assert_eq!(store.swap(&second).await.unwrap(), Swapped::Lost, "nothing to swap");
    assert_eq!(store.claim(&Record::Payment(first.clone())).await.unwrap(), Claimed::First);
    let swaps = join_all((0..REPEATS).map(|_| {
        let (store, next) = (Arc::clone(&store), second.clone());
        tokio::spawn(async move { store.swap(&next).await.unwrap() })
    }))
    .await;
    assert_eq!(swaps.iter().filter(|swap| matches!(swap, Ok(Swapped::Done))).count(), 1);
    assert_eq!(store.find(first.id).await.unwrap(), Some(second));

    let tombstone = Record::Tombstone { key: step(saga(), "charge"), at: now(), id: PaymentId::new(saga().as_uuid()) };
    assert_eq!(store.claim(&tombstone).await.unwrap(), Claimed::First);
    let Record::Tombstone { id, key, .. } = &tombstone else { unreachable!() };
    assert_eq!(store.find(*id).await.unwrap(), None, "a tombstone is no payment");
    assert_eq!(store.load(key).await.unwrap(), Some(tombstone.clone()));
}

async fn a_refund_key_belongs_to_one_payment(place: &Place) {
    let store = place.open().await.store;
    let (one, other) = (intended(100), intended(100));
    let key = RefundKey::Step(step(saga(), "refund"));
    for payment in [&one, &other] {
        assert_eq!(store.claim(&Record::Payment(payment.clone())).await.unwrap(), Claimed::First);
        assert_eq!(store.swap(&captured(payment)).await.unwrap(), Swapped::Done);
    }
    let one = refunding(&captured(&one), key.clone(), 10);
    assert_eq!(store.swap(&one).await.unwrap(), Swapped::Done);
    let refused = store.swap(&refunding(&captured(&other), key.clone(), 10)).await;
    assert!(matches!(refused, Err(StoreError::StepKeyTaken)), "{refused:?}");
    assert_eq!(store.find(other.id).await.unwrap(), Some(captured(&other)), "the refused swap changed nothing");
    let done = evolve(&one, &Event::RefundDone { key, receipt: Receipt::new("r") }, now()).unwrap();
    assert_eq!(store.swap(&done).await.unwrap(), Swapped::Done, "its own key is no obstacle");
}

async fn what_is_written_is_what_is_read(place: &Place) {
    let store = place.open().await.store;
    let later = now() + Duration::from_micros(1_234_567);
    let stepkey = |name: &str| RefundKey::Step(step(saga(), name));
    let mut states = Vec::new();
    let pending = intended(i64::MAX);
    states.push(vec![pending.clone(), evolve(&pending, &Event::Voided, later).unwrap()]);
    for reason in DeclineReason::ALL {
        let pending = intended(1);
        states.push(vec![pending.clone(), evolve(&pending, &Event::Declined { reason }, later).unwrap()]);
    }
    let mut life = vec![intended(100)];
    life.push(captured(&life[0]));
    let (refused, part) = (stepkey("a"), stepkey("b"));
    for event in [
        Event::RefundAsked { key: refused.clone(), fingerprint: Some(fingerprint(3)), asked: None, amount: eur(100) },
        Event::RefundRefused { key: refused },
        Event::RefundAsked {
            key: part.clone(),
            fingerprint: Some(fingerprint(4)),
            asked: Some(eur(40)),
            amount: eur(40),
        },
        Event::RefundDone { key: part, receipt: Receipt::new("part") },
        Event::BarrierClosed,
        Event::RefundAsked {
            key: RefundKey::Undo(life[0].charge.key.clone()),
            fingerprint: None,
            asked: None,
            amount: eur(60),
        },
        Event::RefundDone { key: RefundKey::Undo(life[0].charge.key.clone()), receipt: Receipt::new("rest") },
    ] {
        let next = evolve(&life[life.len() - 1], &event, later).unwrap();
        life.push(next);
    }
    assert_eq!(life[life.len() - 1].status(), Status::Refunded);
    states.push(life);
    for life in states {
        assert_eq!(store.claim(&Record::Payment(life[0].clone())).await.unwrap(), Claimed::First);
        for next in &life {
            if next.version > 1 {
                assert_eq!(store.swap(next).await.unwrap(), Swapped::Done);
            }
            assert_eq!(store.find(next.id).await.unwrap().as_ref(), Some(next));
            assert_eq!(store.load(&next.charge.key).await.unwrap(), Some(Record::Payment(next.clone())));
        }
    }
}

async fn concurrent_repeats_of_a_charge_have_one_effect_and_answer(place: &Place) {
    let world = place.world().await;
    for _ in 0..rounds() {
        let charge = charge_of(3700, "pm_ok");
        let answers = repeat(&world.payments, |payments| {
            let charge = charge.clone();
            async move { payments.charge(&charge).await.unwrap() }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!(answers[0].status(), Status::Captured);
        assert_eq!(world.ledger_of(&charge.key).await, (3700, 0));
        let query = ListQuery { limit: 10, order_id: Some(charge.order_id), ..ListQuery::default() };
        assert_eq!(world.payments.list(&query).await.unwrap().payments, answers[..1]);
    }
}

async fn concurrent_repeats_of_a_refund_have_one_effect_and_answer(place: &Place) {
    let world = place.world().await;
    for _ in 0..rounds() {
        let charge = charge_of(3700, "pm_ok");
        let refund = refund_of(&world.payments.charge(&charge).await.unwrap(), Some(700));
        let answers = repeat(&world.payments, |payments| {
            let refund = refund.clone();
            async move { payments.refund(&refund).await.unwrap() }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!((answers[0].status(), answers[0].refunded()), (Status::PartiallyRefunded, eur(700)));
        assert_eq!(world.ledger_of(&charge.key).await, (3700, 700));
    }
}

async fn concurrent_repeats_of_a_compensation_have_one_effect(place: &Place) {
    let world = place.world().await;
    for _ in 0..rounds() {
        let charge = charge_of(3700, "pm_ok");
        world.payments.charge(&charge).await.unwrap();
        let answers = repeat(&world.payments, |payments| {
            let key = charge.key.clone();
            async move { payments.compensate_charge(&key).await.unwrap() }
        })
        .await;
        for answer in &answers {
            assert_ne!(answer.found, Compensated::NothingToUndo);
            assert_eq!(answer.payment.as_ref().map(Payment::status), Some(Status::Refunded));
        }
        assert!(answers.iter().any(|answer| answer.found == Compensated::Undone));
        assert_eq!(world.ledger_of(&charge.key).await, (3700, 3700));
        let again = world.payments.compensate_charge(&charge.key).await.unwrap();
        assert_eq!(again.found, Compensated::AlreadyUndone);
    }
}

async fn each_payment_method_does_what_it_says(place: &Place) {
    let world = place.world().await;
    let declined = Err;
    for (minor, method, expected) in [
        (99_999, "pm_ok", Ok(Status::Captured)),
        (1, "pm_ok", Ok(Status::Captured)),
        (100_000, "pm_ok", declined(DeclineReason::AmountLimitExceeded)),
        (1, "pm_declined", declined(DeclineReason::Declined)),
        (1, "pm_unheard_of", declined(DeclineReason::Declined)),
        (1, "pm_insufficient_funds", declined(DeclineReason::InsufficientFunds)),
    ] {
        let charge = charge_of(minor, method);
        match expected {
            Ok(status) => assert_eq!(world.payments.charge(&charge).await.unwrap().status(), status),
            Err(expected) => assert_eq!(decline(world.payments.charge(&charge).await), expected),
        }
    }
    world.assert_books_balance().await;
}

fn decline(result: Result<Payment, Error>) -> DeclineReason {
    match rejection(result) {
        Rejection::Declined { reason, .. } => reason,
        other => panic!("expected a decline, got {other:?}"),
    }
}

async fn a_declined_charge_stays_declined(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(5, "pm_insufficient_funds");
    for _ in 0..2 {
        assert_eq!(decline(world.payments.charge(&charge).await), DeclineReason::InsufficientFunds);
    }
    for _ in 0..2 {
        let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
        assert_eq!(undone.found, Compensated::NothingToUndo);
        assert_eq!(undone.payment.unwrap().status(), Status::Declined);
    }
    let late = rejection(world.payments.charge(&charge).await);
    assert_eq!(late, Rejection::StepCompensated(charge.key));
}

async fn the_same_key_for_another_request_is_refused(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(500, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let mut other = charge.clone();
    other.fingerprint = fingerprint(9);
    assert_eq!(rejection(world.payments.charge(&other).await), Rejection::StepKeyReused(charge.key.clone()));
    // A fingerprint that was computed wrongly does not help.
    let mut other = charge.clone();
    other.amount = eur(501);
    assert_eq!(rejection(world.payments.charge(&other).await), Rejection::StepKeyReused(charge.key.clone()));

    let refund = refund_of(&payment, Some(100));
    world.payments.refund(&refund).await.unwrap();
    for (asked, amount) in [(fingerprint(9), Some(100)), (refund.fingerprint, Some(101)), (refund.fingerprint, None)] {
        let mut other = refund.clone();
        (other.fingerprint, other.amount) = (asked, amount.map(eur));
        assert_eq!(rejection(world.payments.refund(&other).await), Rejection::StepKeyReused(refund.key.clone()));
    }
    let elsewhere = world.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    let mut other = refund.clone();
    other.payment_id = elsewhere.id;
    assert_eq!(rejection(world.payments.refund(&other).await), Rejection::StepKeyReused(refund.key.clone()));
    let mut charges_own = refund.clone();
    charges_own.key = charge.key.clone();
    assert_eq!(rejection(world.payments.refund(&charges_own).await), Rejection::StepKeyReused(charge.key.clone()));
    assert_eq!(world.ledger_of(&charge.key).await, (500, 100));
    world.assert_books_balance().await;
}

async fn a_charge_after_its_compensation_is_refused(place: &Place) {
    let world = place.world().await;
    for round in 0..rounds() {
        let mode = if round % 2 == 0 { Mode::Charge } else { Mode::Authorize };
        let charge = Charge { mode, ..charge_of(500, "pm_ok") };
        for _ in 0..2 {
            let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
            assert_eq!((undone.found, undone.payment), (Compensated::NothingToUndo, None));
        }
        let answers = repeat(&world.payments, |payments| {
            let charge = charge.clone();
            async move { rejection(payments.charge(&charge).await) }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == Rejection::StepCompensated(charge.key.clone())), "{answers:?}");
        assert_eq!((world.ledger_of(&charge.key).await, world.held_of(&charge.key).await), ((0, 0), 0));
    }
}

async fn a_compensation_after_its_charge_gives_all_back(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(500, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
    assert_eq!(undone.found, Compensated::Undone);
    let left = undone.payment.unwrap();
    assert_eq!((left.id, left.status(), left.refunded()), (payment.id, Status::Refunded, eur(500)));
    assert_eq!(world.payments.get(payment.id).await.unwrap(), left);
    assert_eq!(rejection(world.payments.charge(&charge).await), Rejection::StepCompensated(charge.key.clone()));
    assert_eq!(world.ledger_of(&charge.key).await, (500, 500));
}

async fn a_compensation_racing_its_charge_leaves_nothing_taken(place: &Place) {
    let world = place.world().await;
    let mut found = BTreeMap::new();
    for round in 0..rounds() * 4 {
        let charge = charge_of(500, "pm_ok");
        let (one, other) = (world.clone(), world.clone());
        let (charge_one, key) = (charge.clone(), charge.key.clone());
        let charging = tokio::spawn(async move { one.payments.charge(&charge_one).await });
        // Both orders, and a few places in between.
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        let compensating = tokio::spawn(async move { other.payments.compensate_charge(&key).await });
        let (charged, compensated) = (charging.await.unwrap(), compensating.await.unwrap());
        let compensated = compensated.unwrap();
        match (&charged, compensated.found) {
            // The charge came first: it was given back, or its caller was told of the compensation.
            (Ok(_), Compensated::Undone) | (Err(Error::Rejected(Rejection::StepCompensated(_))), _) => {}
            other => panic!("round {round}: {other:?}"),
        }
        *found.entry(format!("{:?}", compensated.found)).or_insert(0) += 1;
        let (taken, given_back) = world.ledger_of(&charge.key).await;
        assert_eq!(taken, given_back, "round {round}: {charged:?} {compensated:?}");
        assert_eq!(rejection(world.payments.charge(&charge).await), Rejection::StepCompensated(charge.key.clone()));
    }
    eprintln!("a compensation racing its charge found: {found:?}");
    world.assert_books_balance().await;
}

async fn a_compensation_gives_back_what_partial_refunds_left(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(500, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let partly = world.payments.refund(&refund_of(&payment, Some(120))).await.unwrap();
    assert_eq!((partly.status(), partly.refunded()), (Status::PartiallyRefunded, eur(120)));
    let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
    assert_eq!(undone.found, Compensated::Undone);
    let State::Refunded(Capture { refunds, .. }) = undone.payment.unwrap().state else { panic!("not refunded") };
    let amounts: Vec<i64> = refunds.iter().map(|refund| refund.amount.amount_minor()).collect();
    assert_eq!(amounts, [120, 380]);
    assert_eq!(world.ledger_of(&charge.key).await, (500, 500));
    let late = rejection(world.payments.refund(&refund_of(&payment, Some(1))).await);
    assert!(matches!(late, Rejection::IllegalState { .. }), "{late:?}");
}

async fn a_compensation_racing_refunds_leaves_nothing_taken(place: &Place) {
    let world = place.world().await;
    for _ in 0..rounds() {
        let charge = charge_of(500, "pm_ok");
        let payment = world.payments.charge(&charge).await.unwrap();
        let refunding: Vec<_> = (1..=8)
            .map(|tenth| {
                let (payments, refund) = (world.payments.clone(), refund_of(&payment, Some(tenth * 10)));
                tokio::spawn(async move { payments.refund(&refund).await })
            })
            .collect();
        let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
        assert_ne!(undone.found, Compensated::NothingToUndo);
        for refund in join_all(refunding).await {
            match refund.unwrap() {
                Ok(_) | Err(Error::Rejected(Rejection::IllegalState { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(world.ledger_of(&charge.key).await, (500, 500));
    }
    world.assert_books_balance().await;
}

async fn partial_refunds_racing_never_exceed_what_was_captured(place: &Place) {
    let world = place.world().await;
    for _ in 0..rounds() {
        let charge = charge_of(1000, "pm_ok");
        let payment = world.payments.charge(&charge).await.unwrap();
        let refunds: Vec<_> = (0..16)
            .map(|_| {
                let (payments, refund) = (world.payments.clone(), refund_of(&payment, Some(130)));
                tokio::spawn(async move { payments.refund(&refund).await })
            })
            .collect();
        let (mut done, mut refused) = (0, 0);
        for refund in join_all(refunds).await {
            match refund.unwrap() {
                Ok(_) => done += 1,
                Err(Error::Rejected(Rejection::RefundExceedsCaptured { .. })) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((done, refused), (7, 9));
        assert_eq!(world.ledger_of(&charge.key).await, (1000, 910));
        let rest = world.payments.refund(&refund_of(&payment, None)).await.unwrap();
        assert_eq!((rest.status(), rest.refunded()), (Status::Refunded, eur(1000)));
    }
    world.assert_books_balance().await;
}

async fn a_refund_is_refused_where_there_is_nothing_to_give_back(place: &Place) {
    let world = place.world().await;
    let nowhere = PaymentId::new(saga().as_uuid());
    let charge = charge_of(5, "pm_declined");
    rejection(world.payments.charge(&charge).await);
    let Some(Record::Payment(declined)) = world.opened.store.load(&charge.key).await.unwrap() else {
        panic!("no record")
    };
    let mut asked = refund_of(&declined, None);
    let expected = Rejection::IllegalState { id: declined.id, from: Status::Declined, to: Status::Refunded };
    assert_eq!(rejection(world.payments.refund(&asked).await), expected);
    assert_eq!(expected.to_string(), format!("payment {} is declined: it cannot become refunded", declined.id));
    asked.payment_id = nowhere;
    assert_eq!(rejection(world.payments.refund(&asked).await), Rejection::PaymentNotFound(nowhere));
    assert_eq!(rejection(world.payments.get(nowhere).await), Rejection::PaymentNotFound(nowhere));

    let payment = world.payments.charge(&charge_of(5, "pm_ok")).await.unwrap();
    let refused = rejection(world.payments.refund(&refund_of(&payment, Some(6))).await);
    assert_eq!(refused, Rejection::RefundExceedsCaptured { asked: eur(6), left: eur(5) });
    let mut dollars = refund_of(&payment, None);
    dollars.amount = Some(amends_primitives::Money::new(1, amends_primitives::Currency::USD));
    assert!(matches!(rejection(world.payments.refund(&dollars).await), Rejection::OtherCurrency { .. }));
    world.payments.refund(&refund_of(&payment, None)).await.unwrap();
    let again = rejection(world.payments.refund(&refund_of(&payment, None)).await);
    assert!(matches!(again, Rejection::IllegalState { from: Status::Refunded, .. }), "{again:?}");
}

async fn a_repeat_is_answered_with_what_was_true_then(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(500, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let (first, second) = (refund_of(&payment, Some(100)), refund_of(&payment, None));
    let after_first = world.payments.refund(&first).await.unwrap();
    let after_second = world.payments.refund(&second).await.unwrap();
    assert_eq!((after_first.status(), after_second.status()), (Status::PartiallyRefunded, Status::Refunded));
    let seen = |payment: &Payment| (payment.status(), payment.captured(), payment.refunded(), payment.updated_at);
    assert_eq!(seen(&world.payments.charge(&charge).await.unwrap()), seen(&payment));
    assert_eq!(seen(&world.payments.refund(&first).await.unwrap()), seen(&after_first));
    assert_eq!(seen(&world.payments.refund(&second).await.unwrap()), seen(&after_second));
    assert_eq!(world.payments.get(payment.id).await.unwrap().status(), Status::Refunded);
}

async fn the_processor_remembers_over_a_restart(place: &Place) {
    let charge = charge_of(500, "pm_ok");
    let opened = place.open().await;
    // The process dies after the processor took the money and before that was written down.
    let processor = Arc::new(SimulatedProcessor::new(opened.ledger.clone(), rules()));
    let intent = Record::Payment(Payment::intended(PaymentId::new(saga().as_uuid()), charge.clone(), now()));
    assert_eq!(opened.store.claim(&intent).await.unwrap(), Claimed::First);
    payments(Arc::clone(&opened.store), processor).processor.charge(&ask(&charge)).await;
    opened.store.close().await;

    let world = place.world().await;
    assert_eq!(world.ledger_of(&charge.key).await, (500, 0));
    let payment = world.payments.charge(&charge).await.unwrap();
    assert_eq!(payment.status(), Status::Captured);
    assert_eq!(Record::Payment(Payment { state: State::Pending, version: 1, ..payment }), intent);
    assert_eq!(world.ledger_of(&charge.key).await, (500, 0));
}

fn ask(charge: &payment_service::domain::Charge) -> payment_service::processor::ChargeAsk {
    payment_service::processor::ChargeAsk {
        key: charge.key.clone(),
        amount: charge.amount,
        method: charge.method.clone(),
    }
}

async fn an_answer_that_never_comes_is_unknown_and_can_be_undone(place: &Place) {
    let world = place.world().await;
    let mut impatient = world.payments.clone();
    impatient.processor_timeout = Duration::from_millis(400);
    let charge = charge_of(500, "pm_timeout");
    // At first the timeout may cut the ledger's own write off; both are unknown, which is the point.
    while world.ledger_of(&charge.key).await == (0, 0) {
        let unknown = impatient.charge(&charge).await;
        assert!(matches!(unknown, Err(Error::Failed(Failure::Processor(Unknown::TimedOut)))), "{unknown:?}");
    }
    let Some(Record::Payment(payment)) = world.opened.store.load(&charge.key).await.unwrap() else {
        panic!("no record")
    };
    assert_eq!((payment.status(), payment.barrier), (Status::Pending, Barrier::Open));
    // Never assumed: the processor is asked, and says that it had taken the money.
    let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
    assert_eq!(undone.found, Compensated::Undone);
    assert_eq!(undone.payment.unwrap().status(), Status::Refunded);
    assert_eq!(world.ledger_of(&charge.key).await, (500, 500));
}

async fn a_flaky_processor_is_asked_again_under_the_same_key(place: &Place) {
    let world = place.world().await;
    let charge = charge_of(500, "pm_flaky");
    let unknown = world.payments.charge(&charge).await;
    assert!(matches!(unknown, Err(Error::Failed(Failure::Processor(Unknown::Failed)))), "{unknown:?}");
    assert_eq!(world.payments.charge(&charge).await.unwrap().status(), Status::Captured);
    assert_eq!(world.ledger_of(&charge.key).await, (500, 0));

    // Undone while in doubt: voided at the processor, so that even the processor refuses a late one.
    let charge = charge_of(500, "pm_flaky");
    assert!(matches!(world.payments.charge(&charge).await, Err(Error::Failed(_))));
    let undone = world.payments.compensate_charge(&charge.key).await.unwrap();
    assert_eq!(undone.found, Compensated::NothingToUndo);
    assert_eq!(undone.payment.unwrap().status(), Status::Voided);
    assert_eq!(rejection(world.payments.charge(&charge).await), Rejection::StepCompensated(charge.key.clone()));
    assert_eq!(world.ledger_of(&charge.key).await, (0, 0));
}

async fn lists_are_filtered_and_paged_in_the_order_of_ids(place: &Place) {
    let store = place.open().await.store;
    let order = charge_of(1, "pm_ok").order_id;
    let mut all = Vec::new();
    for number in 0..25_u64 {
        let mut charge = charge_of(100, "pm_ok");
        if number % 5 == 0 {
            charge.order_id = order;
        }
        let customer = if number % 2 == 0 { "even" } else { "odd" };
        charge.customer_id = payment_service::domain::CustomerId::try_new(customer).unwrap();
        // Not in the order of their ids.
        let id = PaymentId::new(Uuid::from_u64_pair(1, number * 7 % 25));
        let mut payment = Payment::intended(id, charge, now());
        assert_eq!(store.claim(&Record::Payment(payment.clone())).await.unwrap(), Claimed::First);
        if number % 3 == 0 {
            payment = captured(&payment);
            assert_eq!(store.swap(&payment).await.unwrap(), Swapped::Done);
        }
        let tombstone = Record::Tombstone {
            key: step(saga(), "charge"),
            at: now(),
            id: PaymentId::new(Uuid::from_u64_pair(1, 100 + number)),
        };
        assert_eq!(store.claim(&tombstone).await.unwrap(), Claimed::First);
        all.push(payment);
    }
    all.sort_by_key(|payment| payment.id);
    let even = payment_service::domain::CustomerId::try_new("even").unwrap();
    let only = ListQuery::default;
    for (query, wanted) in [
        (only(), all.clone()),
        (ListQuery { order_id: Some(order), ..only() }, filter(&all, |p| p.charge.order_id == order)),
        (ListQuery { customer_id: Some(even.clone()), ..only() }, filter(&all, |p| p.charge.customer_id == even)),
        (ListQuery { status: Some(Status::Captured), ..only() }, filter(&all, |p| p.status() == Status::Captured)),
        (
            ListQuery {
                order_id: Some(order),
                customer_id: Some(even.clone()),
                status: Some(Status::Pending),
                ..only()
            },
            filter(&all, |p| {
                p.charge.order_id == order && p.charge.customer_id == even && p.status() == Status::Pending
            }),
        ),
        (ListQuery { status: Some(Status::Voided), ..only() }, Vec::new()),
    ] {
        for limit in [1, 4, 25, 100] {
            assert_eq!(read_all(&*store, ListQuery { limit, ..query.clone() }).await, wanted, "{query:?} by {limit}");
        }
    }
}

async fn a_span_of_time_is_listed_in_the_order_of_times(place: &Place) {
    let store = place.open().await.store;
    let at = |minute: u64| now() + Duration::from_mins(minute);
    let mut all = Vec::new();
    for number in 0..20_u64 {
        let mut charge = charge_of(100, "pm_ok");
        let customer = if number % 2 == 0 { "even" } else { "odd" };
        charge.customer_id = payment_service::domain::CustomerId::try_new(customer).unwrap();
        // Neither in the order of ids nor each at a time of its own.
        let id = PaymentId::new(Uuid::from_u64_pair(1, number * 7 % 20));
        let payment = Payment::intended(id, charge, at(number * 3 % 8));
        assert_eq!(store.claim(&Record::Payment(payment.clone())).await.unwrap(), Claimed::First);
        let id = PaymentId::new(Uuid::from_u64_pair(1, 100 + number));
        let tombstone = Record::Tombstone { key: step(saga(), "charge"), at: at(number * 3 % 8), id };
        assert_eq!(store.claim(&tombstone).await.unwrap(), Claimed::First);
        all.push(payment);
    }
    all.sort_by_key(|payment| (payment.created_at, payment.id));
    let even = payment_service::domain::CustomerId::try_new("even").unwrap();
    for (from, before) in [(None, Some(4)), (Some(2), None), (Some(2), Some(6)), (Some(3), Some(3)), (Some(9), None)] {
        for customer_id in [None, Some(even.clone())] {
            let within = |payment: &Payment| {
                from.is_none_or(|from| payment.created_at >= at(from))
                    && before.is_none_or(|before| payment.created_at < at(before))
                    && customer_id.as_ref().is_none_or(|customer| payment.charge.customer_id == *customer)
            };
            let wanted = filter(&all, within);
            let (created_from, created_before) = (from.map(at), before.map(at));
            let query =
                ListQuery { created_from, created_before, customer_id: customer_id.clone(), ..Default::default() };
            for limit in [1, 3, 100] {
                let read = read_all(&*store, ListQuery { limit, ..query.clone() }).await;
                assert_eq!(read, wanted, "{query:?} by {limit}");
            }
        }
    }
}

fn filter(all: &[Payment], wanted: impl Fn(&Payment) -> bool) -> Vec<Payment> {
    all.iter().filter(|payment| wanted(payment)).cloned().collect()
}

async fn read_all(store: &dyn PaymentStore, mut query: ListQuery) -> Vec<Payment> {
    let mut read = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.payments.len() <= query.limit as usize);
        assert!(!page.more || page.payments.len() == query.limit as usize);
        read.extend(page.payments);
        if !page.more {
            return read;
        }
        query.after = read.last().map(|payment| payment.id);
    }
}
