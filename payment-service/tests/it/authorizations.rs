//! What every store must do with what is held, with the use cases on top: one list of cases, run on every backend.

use std::time::Duration;

use amends_primitives::PaymentId;
use futures::future::join_all;
use payment_service::{
    app::{Error, Failure},
    domain::{
        Charge, Compensated, DeclineReason, Event, Mode, Payment, Receipt, Record, Rejection, SettlementVerb, Status,
        Wanted, evolve,
    },
    processor::Unknown,
    store::{Claimed, ListQuery, StoreError, Swapped},
};

use crate::support::{
    Place, World, capture_of, charge_of, eur, fingerprint, now, on_every_backend, refund_of, rejection, repeat, rounds,
    saga, step, void_of,
};

on_every_backend![
    what_is_held_is_captured_in_part_and_the_rest_released,
    what_is_held_is_released_and_never_taken,
    an_authorization_that_is_undone_is_voided,
    a_capture_that_is_undone_is_refunded,
    concurrent_repeats_of_authorize_capture_and_void_act_once,
    a_capture_racing_a_void_has_one_winner,
    captures_racing_never_take_more_than_is_held,
    a_compensation_racing_a_capture_leaves_nothing_taken_or_held,
    a_settlement_key_belongs_to_one_payment,
    a_hold_is_read_as_it_was_written,
    each_payment_method_does_what_it_says,
    authorizations_are_listed_by_their_state,
];

fn authorization_of(minor: i64, method: &str) -> Charge {
    Charge { mode: Mode::Authorize, ..charge_of(minor, method) }
}

async fn authorized(world: &World, minor: i64) -> (Charge, Payment) {
    let asked = authorization_of(minor, "pm_ok");
    let payment = world.payments.charge(&asked).await.unwrap();
    assert_eq!((payment.status(), payment.capturable()), (Status::Authorized, eur(minor)));
    (asked, payment)
}

fn illegal(payment: &Payment, from: Status, to: Status) -> Rejection {
    Rejection::IllegalState { id: payment.id, from, to }
}

async fn what_is_held_is_captured_in_part_and_the_rest_released(place: &Place) {
    let world = place.world().await;
    let (asked, payment) = authorized(&world, 500).await;
    assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((0, 0), 500));
    let exceeds = rejection(world.payments.end(&capture_of(&payment, Some(501))).await);
    assert_eq!(exceeds, Rejection::CaptureExceedsAuthorized { asked: eur(501), authorized: eur(500) });
    let capture = capture_of(&payment, Some(300));
    let captured = world.payments.end(&capture).await.unwrap();
    assert_eq!((captured.status(), captured.captured(), captured.capturable()), (Status::Captured, eur(300), eur(0)));
    assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((300, 0), 0));

    let more = rejection(world.payments.end(&capture_of(&payment, Some(200))).await);
    assert_eq!(more, illegal(&payment, Status::Captured, Status::Captured));
    let void = rejection(world.payments.end(&void_of(&payment)).await);
    assert_eq!(void, illegal(&payment, Status::Captured, Status::Voided));
    let exceeds = rejection(world.payments.refund(&refund_of(&payment, Some(301))).await);
    assert_eq!(exceeds, Rejection::RefundExceedsCaptured { asked: eur(301), left: eur(300) });
    let refunded = world.payments.refund(&refund_of(&payment, None)).await.unwrap();
    assert_eq!((refunded.status(), refunded.refunded()), (Status::Refunded, eur(300)));

    // Repeats are answered with what was true then.
    let seen = |payment: &Payment| (payment.status(), payment.captured(), payment.refunded(), payment.capturable());
    assert_eq!(seen(&world.payments.charge(&asked).await.unwrap()), seen(&payment));
    assert_eq!(seen(&world.payments.end(&capture).await.unwrap()), seen(&captured));
    world.assert_books_balance().await;
}

async fn what_is_held_is_released_and_never_taken(place: &Place) {
    let world = place.world().await;
    let (asked, payment) = authorized(&world, 500).await;
    let refund = rejection(world.payments.refund(&refund_of(&payment, None)).await);
    assert_eq!(refund, illegal(&payment, Status::Authorized, Status::Refunded));
    let void = void_of(&payment);
    for _ in 0..2 {
        let voided = world.payments.end(&void).await.unwrap();
        assert_eq!((voided.status(), voided.capturable()), (Status::Voided, eur(0)));
    }
    let again = rejection(world.payments.end(&void_of(&payment)).await);
    assert_eq!(again, illegal(&payment, Status::Voided, Status::Voided));
    let capture = rejection(world.payments.end(&capture_of(&payment, None)).await);
    assert_eq!(capture, illegal(&payment, Status::Voided, Status::Captured));
    assert_eq!(world.payments.charge(&asked).await.unwrap().status(), Status::Authorized, "as it was then");
    assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((0, 0), 0));

    let charged = world.payments.charge(&charge_of(5, "pm_ok")).await.unwrap();
    let void = rejection(world.payments.end(&void_of(&charged)).await);
    assert_eq!(void, illegal(&charged, Status::Captured, Status::Voided));
    let nowhere = Payment { id: PaymentId::new(saga().as_uuid()), ..charged };
    let nothing = rejection(world.payments.end(&void_of(&nowhere)).await);
    assert_eq!(nothing, Rejection::PaymentNotFound(nowhere.id));
    world.assert_books_balance().await;
}

async fn an_authorization_that_is_undone_is_voided(place: &Place) {
    let world = place.world().await;
    let (asked, payment) = authorized(&world, 500).await;
    for found in [Compensated::Undone, Compensated::AlreadyUndone] {
        let undone = world.payments.compensate_charge(&asked.key).await.unwrap();
        assert_eq!((undone.found, undone.payment.unwrap().status()), (found, Status::Voided));
    }
    assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((0, 0), 0));
    assert_eq!(rejection(world.payments.charge(&asked).await), Rejection::StepCompensated(asked.key.clone()));
    let late = rejection(world.payments.end(&capture_of(&payment, None)).await);
    assert_eq!(late, illegal(&payment, Status::Voided, Status::Captured));
    // One barrier for both: what a tombstone refuses, it refuses in either mode.
    let asked = authorization_of(5, "pm_ok");
    let undone = world.payments.compensate_charge(&asked.key).await.unwrap();
    assert_eq!((undone.found, undone.payment), (Compensated::NothingToUndo, None));
    for mode in [Mode::Authorize, Mode::Charge] {
        let late = Charge { mode, ..asked.clone() };
        assert_eq!(rejection(world.payments.charge(&late).await), Rejection::StepCompensated(asked.key.clone()));
    }
    world.assert_books_balance().await;
}

async fn a_capture_that_is_undone_is_refunded(place: &Place) {
    let world = place.world().await;
    let (asked, payment) = authorized(&world, 500).await;
    world.payments.end(&capture_of(&payment, Some(300))).await.unwrap();
    let undone = world.payments.compensate_charge(&asked.key).await.unwrap();
    assert_eq!((undone.found, undone.payment.unwrap().status()), (Compensated::Undone, Status::Refunded));
    assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((300, 300), 0));
    world.assert_books_balance().await;
}

async fn concurrent_repeats_of_authorize_capture_and_void_act_once(place: &Place) {
    let world = place.world().await;
    for round in 0..rounds() {
        let asked = authorization_of(3700, "pm_ok");
        let answers = repeat(&world.payments, |payments| {
            let asked = asked.clone();
            async move { payments.charge(&asked).await.unwrap() }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!((answers[0].status(), world.held_of(&asked.key).await), (Status::Authorized, 3700));
        let (ending, status, taken) = match round % 2 {
            0 => (capture_of(&answers[0], Some(700)), Status::Captured, 700),
            _ => (void_of(&answers[0]), Status::Voided, 0),
        };
        let answers = repeat(&world.payments, |payments| {
            let ending = ending.clone();
            async move { payments.end(&ending).await.unwrap() }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!((answers[0].status(), answers[0].captured()), (status, eur(taken)));
        assert_eq!((world.ledger_of(&asked.key).await, world.held_of(&asked.key).await), ((taken, 0), 0));
    }
}

async fn a_capture_racing_a_void_has_one_winner(place: &Place) {
    let world = place.world().await;
    let (mut captures, mut voids) = (0, 0);
    for round in 0..rounds() * 2 {
        let (asked, payment) = authorized(&world, 500).await;
        let mut racing = vec![capture_of(&payment, Some(300)), void_of(&payment)];
        if round % 2 == 1 {
            racing.reverse();
        }
        let mut calls = Vec::new();
        for (nth, ending) in racing.into_iter().enumerate() {
            // Both orders, and a few places in between.
            for _ in 0..nth * (round as usize / 2 % 8) {
                tokio::task::yield_now().await;
            }
            let payments = world.payments.clone();
            calls.push(tokio::spawn(async move { (ending.verb, payments.end(&ending).await) }));
        }
        let mut winner = None;
        for call in join_all(calls).await {
            match call.unwrap() {
                (verb, Ok(ended)) => assert!(winner.replace((verb, ended)).is_none(), "round {round}: two winners"),
                (SettlementVerb::Void, Err(Error::Rejected(rejection))) => {
                    assert_eq!(rejection, illegal(&payment, Status::Captured, Status::Voided), "round {round}");
                }
                (SettlementVerb::Capture(_), Err(Error::Rejected(rejection))) => {
                    assert_eq!(rejection, illegal(&payment, Status::Voided, Status::Captured), "round {round}");
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        let (verb, ended) = winner.unwrap_or_else(|| panic!("round {round}: no winner"));
        let (status, taken, count) = match verb {
            SettlementVerb::Capture(_) => (Status::Captured, 300, &mut captures),
            SettlementVerb::Void => (Status::Voided, 0, &mut voids),
        };
        *count += 1;
        assert_eq!((ended.status(), ended.captured()), (status, eur(taken)), "round {round}");
        let ledger = (world.ledger_of(&asked.key).await, world.held_of(&asked.key).await);
        assert_eq!(ledger, ((taken, 0), 0), "round {round}");
    }
    eprintln!("a capture racing a void: {captures} captures won, {voids} voids");
    world.assert_books_balance().await;
}

async fn captures_racing_never_take_more_than_is_held(place: &Place) {
    let world = place.world().await;
    for round in 0..rounds() {
        let (asked, payment) = authorized(&world, 1000).await;
        let calls = (1..=8).map(|tenth| {
            let (payments, capture) = (world.payments.clone(), capture_of(&payment, Some(tenth * 100)));
            tokio::spawn(async move { payments.end(&capture).await })
        });
        let mut taken = Vec::new();
        for call in join_all(calls.collect::<Vec<_>>()).await {
            match call.unwrap() {
                Ok(captured) => taken.push(captured.captured().amount_minor()),
                Err(Error::Rejected(rejection)) => {
                    assert_eq!(rejection, illegal(&payment, Status::Captured, Status::Captured), "round {round}");
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(taken.len(), 1, "round {round}: {taken:?}");
        assert_eq!(world.ledger_of(&asked.key).await, (taken[0], 0), "round {round}");
    }
    world.assert_books_balance().await;
}

async fn a_compensation_racing_a_capture_leaves_nothing_taken_or_held(place: &Place) {
    let world = place.world().await;
    for round in 0..rounds() * 2 {
        let (asked, payment) = authorized(&world, 500).await;
        let (payments, capture) = (world.payments.clone(), capture_of(&payment, Some(300)));
        let capturing = tokio::spawn(async move { payments.end(&capture).await });
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        let undone = world.payments.compensate_charge(&asked.key).await.unwrap();
        let status = undone.payment.unwrap().status();
        let (taken, given_back) = world.ledger_of(&asked.key).await;
        assert_eq!((taken, world.held_of(&asked.key).await), (given_back, 0), "round {round}");
        match (capturing.await.unwrap(), status) {
            (Ok(_), Status::Refunded)
            | (Err(Error::Rejected(Rejection::StepCompensated(_) | Rejection::IllegalState { .. })), _) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
    world.assert_books_balance().await;
}

async fn a_settlement_key_belongs_to_one_payment(place: &Place) {
    let world = place.world().await;
    let (_, one) = authorized(&world, 500).await;
    let (other_asked, other) = authorized(&world, 500).await;
    let capture = capture_of(&one, Some(300));
    world.payments.end(&capture).await.unwrap();
    let mut elsewhere = capture.clone();
    elsewhere.payment_id = other.id;
    assert_eq!(rejection(world.payments.end(&elsewhere).await), Rejection::StepKeyReused(capture.key.clone()));
    elsewhere.verb = SettlementVerb::Void;
    assert_eq!(rejection(world.payments.end(&elsewhere).await), Rejection::StepKeyReused(capture.key.clone()));
    assert_eq!(world.held_of(&other_asked.key).await, 500);

    let (key, fingerprint) = (capture.key, fingerprint(3));
    let taken = evolve(&other, &Event::SettlementAsked { key, fingerprint, wanted: Wanted::Void }, now()).unwrap();
    let refused = world.opened.store.swap(&taken).await;
    assert!(matches!(refused, Err(StoreError::StepKeyTaken)), "{refused:?}");
    world.assert_books_balance().await;
}

async fn a_hold_is_read_as_it_was_written(place: &Place) {
    let store = place.open().await.store;
    let later = now() + Duration::from_micros(1_234_567);
    let asked =
        |name: &str, wanted| Event::SettlementAsked { key: step(saga(), name), fingerprint: fingerprint(9), wanted };
    let capture = Wanted::Capture { asked: Some(eur(7)), amount: eur(7) };
    let captured = Event::Captured { amount: eur(7), receipt: Receipt::new("capture") };
    for end in [
        vec![asked("capture", capture.clone()), captured.clone(), Event::BarrierClosed],
        vec![asked("void", Wanted::Void), Event::Voided],
        vec![Event::BarrierClosed, Event::Voided],
        vec![asked("capture", capture), Event::BarrierClosed, Event::Voided],
        vec![asked("void", Wanted::Void), captured],
    ] {
        let refused = step(saga(), "refused");
        let beginning = [
            Event::Authorized { amount: eur(i64::MAX), receipt: Receipt::new("hold") },
            Event::SettlementAsked {
                key: refused.clone(),
                fingerprint: fingerprint(8),
                wanted: Wanted::Capture { asked: None, amount: eur(i64::MAX) },
            },
            Event::CaptureRefused { key: refused },
        ];
        let charge = authorization_of(i64::MAX, "pm_ok");
        let mut payment = Payment::intended(PaymentId::new(saga().as_uuid()), charge, now());
        assert_eq!(store.claim(&Record::Payment(payment.clone())).await.unwrap(), Claimed::First);
        for event in beginning.into_iter().chain(end) {
            payment = evolve(&payment, &event, later).unwrap();
            assert_eq!(store.swap(&payment).await.unwrap(), Swapped::Done);
            assert_eq!(store.find(payment.id).await.unwrap().as_ref(), Some(&payment));
            assert_eq!(store.load(&payment.charge.key).await.unwrap(), Some(Record::Payment(payment.clone())));
        }
    }
}

async fn each_payment_method_does_what_it_says(place: &Place) {
    let world = place.world().await;
    for (minor, method, reason) in [
        (100_000, "pm_ok", DeclineReason::AmountLimitExceeded),
        (1, "pm_declined", DeclineReason::Declined),
        (1, "pm_insufficient_funds", DeclineReason::InsufficientFunds),
    ] {
        let asked = authorization_of(minor, method);
        for _ in 0..2 {
            let declined = rejection(world.payments.charge(&asked).await);
            assert!(matches!(declined, Rejection::Declined { reason: given, .. } if given == reason), "{declined:?}");
        }
    }
    let flaky = authorization_of(500, "pm_flaky");
    assert!(matches!(world.payments.charge(&flaky).await, Err(Error::Failed(Failure::Processor(Unknown::Failed)))));
    assert_eq!(world.payments.charge(&flaky).await.unwrap().status(), Status::Authorized);

    let refusing = world.payments.charge(&authorization_of(500, "pm_capture_refused")).await.unwrap();
    let capture = capture_of(&refusing, None);
    for _ in 0..2 {
        assert_eq!(rejection(world.payments.end(&capture).await), Rejection::CaptureRefused(refusing.id));
    }
    assert_eq!(world.payments.end(&void_of(&refusing)).await.unwrap().status(), Status::Voided);

    // Never assumed: the money was taken, no caller was told, and the next call learns it from the processor.
    let mut impatient = world.payments.clone();
    impatient.processor_timeout = Duration::from_millis(400);
    for void in [true, false] {
        let asked = authorization_of(500, "pm_capture_timeout");
        let payment = world.payments.charge(&asked).await.unwrap();
        while world.ledger_of(&asked.key).await == (0, 0) {
            let unknown = impatient.end(&capture_of(&payment, Some(300))).await;
            assert!(matches!(unknown, Err(Error::Failed(Failure::Processor(Unknown::TimedOut)))), "{unknown:?}");
        }
        if void {
            let in_doubt = impatient.end(&void_of(&payment)).await;
            assert!(matches!(in_doubt, Err(Error::Failed(Failure::Processor(Unknown::TimedOut)))), "{in_doubt:?}");
        }
        let undone = world.payments.compensate_charge(&asked.key).await.unwrap();
        assert_eq!((undone.found, undone.payment.unwrap().status()), (Compensated::Undone, Status::Refunded));
        assert_eq!(world.ledger_of(&asked.key).await, (300, 300));
    }
    world.assert_books_balance().await;
}

async fn authorizations_are_listed_by_their_state(place: &Place) {
    let world = place.world().await;
    let (_, held) = authorized(&world, 500).await;
    let (_, captured) = authorized(&world, 500).await;
    world.payments.end(&capture_of(&captured, None)).await.unwrap();
    for (status, wanted) in [(Status::Authorized, held.id), (Status::Captured, captured.id)] {
        let query = ListQuery { limit: 10, status: Some(status), ..ListQuery::default() };
        let listed = world.payments.list(&query).await.unwrap().payments;
        assert_eq!(listed.iter().map(|payment| payment.id).collect::<Vec<_>>(), [wanted]);
    }
}
