//! What a store of stock must do, run on every backend.

use std::{collections::HashSet, sync::Arc, time::Duration};

use amends_primitives::ReservationId;
use inventory_service::{
    domain::{NewItem, Rejection, State},
    ports::{Refusal, Released, Unputtable},
};
use uuid::Uuid;

use crate::bench::{Bench, HOLD, at_once, eur, line};

/// Names every check once per backend. Races are run more than once: one miss in a thousand is a miss.
macro_rules! on_every_backend {
    (once: $($check:ident)+, races: $($race:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $check() { super::run(crate::bench::Bench::sqlite().await, 1, super::$check).await })+
            $(#[tokio::test(flavor = "multi_thread")] async fn $race() { super::run(crate::bench::Bench::sqlite().await, super::rounds(), super::$race).await })+
        }
        mod sqlite_at_any_price {
            $(#[tokio::test(flavor = "multi_thread")] async fn $check() { super::run(crate::bench::Bench::sqlite_at_any_price().await, 1, super::$check).await })+
            $(#[tokio::test(flavor = "multi_thread")] async fn $race() { super::run(crate::bench::Bench::sqlite_at_any_price().await, 1, super::$race).await })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $check() { super::run(crate::bench::Bench::postgres().await, 1, super::$check).await })+
            $(#[tokio::test(flavor = "multi_thread")] async fn $race() { super::run(crate::bench::Bench::postgres().await, super::rounds(), super::$race).await })+
        }
    };
}

on_every_backend! {
    once:
    a_reservation_is_all_or_nothing
    a_wrong_price_names_the_sku
    a_repeat_is_answered_and_takes_nothing_more
    a_refused_commit_stays_refused
    a_refusal_stays_a_refusal
    another_request_under_the_same_key_is_refused
    releasing_gives_the_goods_back_once
    releasing_what_never_arrived_refuses_it_for_good
    releasing_sold_goods_is_refused
    committing_sells_once
    committing_after_expiry_is_refused
    committing_before_the_sweeper_still_sees_the_time
    the_sweeper_takes_bounded_batches
    holds_of_a_clock_that_was_set_back_end_as_if_made_now
    holds_of_a_clock_a_little_ahead_are_left_alone
    closing_a_commit_keeps_it_out
    a_fault_refuses_the_commit_and_expires_the_reservation
    restocking_happens_once
    items_are_put_and_listed
    stock_on_hand_cannot_fall_below_what_is_held
    seeding_creates_only_what_is_missing
    reservations_are_paged_by_order_and_in_all
    the_database_itself_refuses_to_oversell,
    races:
    repeats_at_once_have_one_effect_and_one_answer
    buyers_in_a_rush_get_exactly_what_is_there
    opposite_orders_of_skus_do_not_deadlock
    many_skus_in_any_order_do_not_deadlock
    release_racing_reserve_leaves_nothing_held
    sweepers_and_buyers_at_once_agree
    commit_racing_release_has_one_winner
    commit_racing_the_sweeper_has_one_winner
    close_racing_commit_agrees_with_it
}

/// Each round on an empty store, whose books are checked at its end.
async fn run<F: Future<Output = ()>>(bench: Option<Arc<Bench>>, rounds: u32, check: impl Fn(Arc<Bench>) -> F) {
    let Some(bench) = bench else { return };
    for round in 0..rounds {
        if round > 0 {
            bench.empty().await;
        }
        check(Arc::clone(&bench)).await;
        bench.assert_books_balance().await;
    }
    bench.close().await;
}

/// `AMENDS_CONFORMANCE_ROUNDS`, 2 where it is not set.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to look")]
fn rounds() -> u32 {
    match std::env::var("AMENDS_CONFORMANCE_ROUNDS") {
        // A mistake here must not look like a thousand rounds that passed.
        Ok(rounds) => rounds.parse::<std::num::NonZeroU32>().expect("AMENDS_CONFORMANCE_ROUNDS must be a number").get(),
        Err(_) => 2,
    }
}

fn refused(refusal: &Refusal) -> String {
    // Ids differ between runs; what is said about them does not.
    refusal
        .to_string()
        .split(' ')
        .filter(|word| word.trim_end_matches(':').parse::<ReservationId>().is_err())
        .collect::<Vec<_>>()
        .join(" ")
}

async fn a_reservation_is_all_or_nothing(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.put("mug", 1).await;
    let reservation = bench.reserve(1, &[("tea", 3), ("mug", 1)]).await.unwrap();
    assert_eq!(reservation.state, State::Held);
    assert_eq!(reservation.expires_at, bench.now() + HOLD);
    assert_eq!(bench.store.reservation(reservation.id).await.unwrap().as_ref(), Some(&reservation));
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((10, 3), (1, 1)));

    let short = bench.reserve(2, &[("tea", 1), ("mug", 1)]).await.unwrap_err();
    assert_eq!(refused(&short), "0 of mug are available, 1 were asked for");
    let unknown = bench.reserve(3, &[("tea", 1), ("gin", 1)]).await.unwrap_err();
    assert_eq!(refused(&unknown), "there is no item gin");
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((10, 3), (1, 1)));
}

async fn a_wrong_price_names_the_sku(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.put("mug", 10).await;
    let mut lines = vec![line("mug", 1), line("tea", 1)];
    (lines[0].expected_unit_price, lines[1].expected_unit_price) = (Some(eur(500)), Some(eur(499)));
    let expected = Rejection::PriceMismatch { sku: "tea".parse().unwrap(), expected: eur(499), actual: eur(500) };
    assert_eq!(bench.reserve_lines(1, lines.clone(), 1).await, Err(Refusal::Rejected(expected)));
    lines[1].expected_unit_price = Some(eur(500));
    bench.reserve_lines(2, lines, 1).await.unwrap();
}

async fn a_repeat_is_answered_and_takes_nothing_more(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.put("mug", 2).await;
    let first = bench.reserve(1, &[("tea", 3), ("mug", 1)]).await.unwrap();
    assert_eq!(bench.reserve(1, &[("tea", 3), ("mug", 1)]).await.unwrap(), first);
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((10, 3), (2, 1)));
    bench.commit(1, first.id).await.unwrap();
    // Also where the goods would not be there a second time.
    bench.reserve(2, &[("mug", 1)]).await.unwrap();
    assert_eq!(bench.reserve(1, &[("tea", 3), ("mug", 1)]).await.unwrap(), first);
    let other = bench.reserve_lines(1, vec![line("tea", 1)], 9).await;
    assert_eq!(other, Err(Refusal::StepKeyReused));
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((7, 0), (1, 1)));
}

async fn a_refused_commit_stays_refused(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let missing = ReservationId::new(Uuid::from_u128(404));
    assert_eq!(refused(&bench.commit(1, missing).await.unwrap_err()), "there is no reservation");
    assert_eq!(refused(&bench.commit(1, missing).await.unwrap_err()), "there is no reservation");
    let held = bench.reserve(2, &[("tea", 1)]).await.unwrap();
    bench.release(2).await.unwrap();
    let first = bench.commit(2, held.id).await.unwrap_err();
    assert_eq!((bench.commit(2, held.id).await, bench.stock("tea").await), (Err(first), (10, 0)));
    assert!(!bench.close_commit(2).await, "nothing was done under the key");
}

async fn repeats_at_once_have_one_effect_and_one_answer(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let again = Arc::clone(&bench);
    let mut answers = at_once(64, move |_| {
        let bench = Arc::clone(&again);
        async move { bench.reserve(1, &[("tea", 3)]).await.unwrap() }
    })
    .await;
    answers.dedup();
    assert_eq!((answers.len(), bench.stock("tea").await), (1, (10, 3)));

    let (again, id) = (Arc::clone(&bench), answers[0].id);
    let mut answers = at_once(64, move |_| {
        let bench = Arc::clone(&again);
        async move { bench.commit(1, id).await.unwrap() }
    })
    .await;
    answers.dedup();
    assert_eq!((answers.len(), answers[0].state, bench.stock("tea").await), (1, State::Committed, (7, 0)));

    let again = Arc::clone(&bench);
    let mut answers = at_once(64, move |_| {
        let bench = Arc::clone(&again);
        async move { bench.restock(1, id).await.unwrap() }
    })
    .await;
    answers.dedup();
    assert_eq!((answers.len(), answers[0].state, bench.stock("tea").await), (1, State::Restocked, (10, 0)));

    // Old answers stay what they were, whatever became of the reservation.
    assert_eq!(bench.reserve(1, &[("tea", 3)]).await.unwrap().state, State::Held);
    assert_eq!(bench.commit(1, id).await.unwrap().state, State::Committed);
}

async fn a_refusal_stays_a_refusal(bench: Arc<Bench>) {
    bench.put("tea", 1).await;
    let first = bench.reserve(1, &[("tea", 2)]).await.unwrap_err();
    bench.put("tea", 10).await;
    assert_eq!(bench.reserve(1, &[("tea", 2)]).await.unwrap_err(), first);
    assert_eq!(bench.release(1).await, Ok(Released::NothingToUndo));
    assert_eq!(bench.release(1).await, Ok(Released::NothingToUndo));
    assert_eq!(bench.reserve(1, &[("tea", 2)]).await.unwrap_err(), Refusal::StepCompensated);
    assert_eq!(bench.stock("tea").await, (10, 0));
}

async fn another_request_under_the_same_key_is_refused(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.reserve_lines(1, vec![line("tea", 1)], 1).await.unwrap();
    assert_eq!(bench.reserve_lines(1, vec![line("tea", 2)], 2).await, Err(Refusal::StepKeyReused));
    assert_eq!(bench.stock("tea").await, (10, 1));
}

async fn buyers_in_a_rush_get_exactly_what_is_there(bench: Arc<Bench>) {
    bench.put("ticket", 100).await;
    let shop = Arc::clone(&bench);
    let bought = at_once(200, move |buyer| {
        let bench = Arc::clone(&shop);
        async move {
            let reservation = bench.reserve(buyer, &[("ticket", 1)]).await?;
            bench.commit(buyer, reservation.id).await
        }
    })
    .await;
    let (sold, refused): (Vec<_>, Vec<_>) = bought.into_iter().partition(Result::is_ok);
    assert_eq!((sold.len(), refused.len()), (100, 100));
    for refusal in refused {
        assert!(matches!(refusal, Err(Refusal::Rejected(Rejection::InsufficientStock { .. }))), "{refusal:?}");
    }
    assert_eq!(bench.stock("ticket").await, (0, 0));
}

async fn opposite_orders_of_skus_do_not_deadlock(bench: Arc<Bench>) {
    bench.put("a", 1000).await;
    bench.put("b", 1000).await;
    let shop = Arc::clone(&bench);
    at_once(64, move |buyer| {
        let bench = Arc::clone(&shop);
        async move {
            let lines = if buyer % 2 == 0 { [("a", 1), ("b", 2)] } else { [("b", 2), ("a", 1)] };
            let reservation = bench.reserve(buyer, &lines).await.unwrap();
            if buyer % 4 < 2 {
                bench.commit(buyer, reservation.id).await.unwrap();
            } else {
                assert_eq!(bench.release(buyer).await, Ok(Released::Undone));
            }
        }
    })
    .await;
    assert_eq!((bench.stock("a").await, bench.stock("b").await), ((968, 0), (936, 0)));
}

async fn many_skus_in_any_order_do_not_deadlock(bench: Arc<Bench>) {
    const SKUS: [&str; 6] = ["F", "a", "b-1", "b_2", "C", "z9"];
    for sku in SKUS {
        bench.put(sku, 10_000).await;
    }
    let shop = Arc::clone(&bench);
    at_once(60, move |buyer| {
        let bench = Arc::clone(&shop);
        async move {
            let mut skus = SKUS;
            skus.rotate_left(usize::try_from(buyer).unwrap() % SKUS.len());
            if buyer % 3 == 0 {
                skus.reverse();
            }
            let reservation = bench.reserve(buyer, &skus.map(|sku| (sku, 3))).await.unwrap();
            match buyer % 3 {
                0 => drop(bench.commit(buyer, reservation.id).await.unwrap()),
                1 => assert_eq!(bench.release(buyer).await, Ok(Released::Undone)),
                _ => {
                    bench.commit(buyer, reservation.id).await.unwrap();
                    bench.restock(buyer, reservation.id).await.unwrap();
                }
            }
        }
    })
    .await;
    for sku in SKUS {
        assert_eq!(bench.stock(sku).await, (10_000 - 20 * 3, 0), "{sku}");
    }
}

async fn releasing_gives_the_goods_back_once(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    let again = Arc::clone(&bench);
    let answers = at_once(64, move |_| {
        let bench = Arc::clone(&again);
        async move { bench.release(1).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == Released::Undone).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Released::AlreadyUndone).count(), 63);
    assert_eq!((bench.stock("tea").await, bench.state(reservation.id).await), ((10, 0), State::Released));
    assert_eq!(bench.reserve(1, &[("tea", 3)]).await, Err(Refusal::StepCompensated));
    assert_eq!(refused(&bench.commit(1, reservation.id).await.unwrap_err()), "reservation has been released");
    assert_eq!(refused(&bench.restock(1, reservation.id).await.unwrap_err()), "reservation has been released");
}

async fn releasing_what_never_arrived_refuses_it_for_good(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    assert_eq!(bench.release(1).await, Ok(Released::NothingToUndo));
    assert_eq!(bench.reserve(1, &[("tea", 3)]).await, Err(Refusal::StepCompensated));
    assert_eq!(bench.release(1).await, Ok(Released::NothingToUndo));
    assert_eq!(bench.stock("tea").await, (10, 0));
}

async fn release_racing_reserve_leaves_nothing_held(bench: Arc<Bench>) {
    bench.put("tea", 1000).await;
    let race = Arc::clone(&bench);
    let ends = at_once(100, move |saga| {
        let bench = Arc::clone(&race);
        async move {
            // Both orders come up: spawned first wins mostly, but not always.
            let (reserve, release) = (Arc::clone(&bench), Arc::clone(&bench));
            let reserving = async move { reserve.reserve(saga, &[("tea", 1)]).await };
            let releasing = async move { release.release(saga).await };
            if saga % 2 == 0 {
                let (first, second) = (tokio::spawn(reserving), tokio::spawn(releasing));
                (first.await.unwrap(), second.await.unwrap())
            } else {
                let (first, second) = (tokio::spawn(releasing), tokio::spawn(reserving));
                (second.await.unwrap(), first.await.unwrap())
            }
        }
    })
    .await;
    for end in ends {
        match end {
            (Ok(reservation), Ok(Released::Undone)) => assert_eq!(bench.state(reservation.id).await, State::Released),
            (Err(Refusal::StepCompensated), Ok(Released::NothingToUndo)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.stock("tea").await, (1000, 0));
}

async fn releasing_sold_goods_is_refused(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    bench.commit(1, reservation.id).await.unwrap();
    assert!(matches!(bench.release(1).await, Err(Rejection::NotAllowed { state: State::Committed, .. })));
    assert_eq!((bench.stock("tea").await, bench.state(reservation.id).await), ((7, 0), State::Committed));
}

async fn committing_sells_once(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    assert_eq!(bench.commit(1, reservation.id).await.unwrap().state, State::Committed);
    assert_eq!(bench.stock("tea").await, (7, 0));
    // Another saga cannot have the same goods, nor a reservation that was never made.
    assert_eq!(
        refused(&bench.commit(2, reservation.id).await.unwrap_err()),
        "cannot commit reservation it is committed"
    );
    let nobodys = ReservationId::new(Uuid::from_u128(1));
    assert_eq!(refused(&bench.commit(3, nobodys).await.unwrap_err()), "there is no reservation");
    assert_eq!(bench.stock("tea").await, (7, 0));
}

async fn committing_after_expiry_is_refused(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    bench.clock.advance(HOLD);
    assert_eq!(bench.expire(10).await.count, 1);
    assert_eq!((bench.stock("tea").await, bench.state(reservation.id).await), ((10, 0), State::Expired));
    for _ in 0..2 {
        assert_eq!(refused(&bench.commit(1, reservation.id).await.unwrap_err()), "reservation has expired");
    }
    assert_eq!(bench.release(1).await, Ok(Released::Undone));
    assert_eq!((bench.stock("tea").await, bench.state(reservation.id).await), ((10, 0), State::Expired));
}

async fn committing_before_the_sweeper_still_sees_the_time(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let (late, early) =
        (bench.reserve(1, &[("tea", 3)]).await.unwrap(), bench.reserve(2, &[("tea", 1)]).await.unwrap());
    let moment = Duration::from_micros(1);
    bench.clock.advance(HOLD.saturating_sub(moment));
    bench.commit(2, early.id).await.unwrap();
    bench.clock.advance(moment);
    assert_eq!(refused(&bench.commit(1, late.id).await.unwrap_err()), "reservation has expired");
    assert_eq!((bench.stock("tea").await, bench.state(late.id).await), ((9, 0), State::Expired));
    assert_eq!(bench.expire(10).await.count, 0);
}

async fn the_sweeper_takes_bounded_batches(bench: Arc<Bench>) {
    bench.put("tea", 100).await;
    bench.put("mug", 100).await;
    assert_eq!(bench.store.next_expiry().await.unwrap(), None);
    for saga in 0..10 {
        bench.reserve(saga, &[("tea", 2), ("mug", 1)]).await.unwrap();
    }
    assert_eq!(bench.store.next_expiry().await.unwrap(), Some(bench.now() + HOLD));
    assert_eq!(bench.expire(4).await.count, 0);
    bench.clock.advance(HOLD);
    let mut batches = Vec::new();
    loop {
        let expired = bench.expire(4).await;
        batches.push(expired.count);
        if !expired.may_have_more {
            break;
        }
    }
    assert_eq!(batches, [4, 4, 2]);
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((100, 0), (100, 0)));
    assert_eq!(bench.store.next_expiry().await.unwrap(), None);
}

async fn holds_of_a_clock_that_was_set_back_end_as_if_made_now(bench: Arc<Bench>) {
    bench.put("tea", 100).await;
    for saga in 0..3 {
        bench.reserve(saga, &[("tea", 2)]).await.unwrap();
    }
    let sold = bench.reserve(3, &[("tea", 1)]).await.unwrap();
    bench.commit(3, sold.id).await.unwrap();
    bench.clock.step_back(Duration::from_hours(1));
    bench.reserve(4, &[("tea", 5)]).await.unwrap();
    assert_eq!((bench.rebase(2).await, bench.rebase(2).await, bench.rebase(2).await), (2, 1, 0));
    assert_eq!(bench.store.next_expiry().await.unwrap(), Some(bench.now() + HOLD));
    assert_eq!(bench.expire(10).await.count, 0);
    bench.clock.advance(HOLD);
    assert_eq!(bench.expire(10).await.count, 4);
    assert_eq!(bench.state(sold.id).await, State::Committed);
}

async fn holds_of_a_clock_a_little_ahead_are_left_alone(bench: Arc<Bench>) {
    bench.put("tea", 100).await;
    let ahead = bench.reserve(1, &[("tea", 2)]).await.unwrap();
    bench.clock.step_back(Duration::from_mins(4));
    assert_eq!(bench.rebase(10).await, 0, "it may be another replica's clock");
    let found = bench.store.reservation(ahead.id).await.unwrap().unwrap();
    assert_eq!(found.expires_at, ahead.expires_at);
}

async fn sweepers_and_buyers_at_once_agree(bench: Arc<Bench>) {
    bench.put("a", 1000).await;
    bench.put("b", 1000).await;
    for saga in 0..40 {
        bench.reserve(saga, &[("a", 1), ("b", 1)]).await.unwrap();
    }
    bench.clock.advance(HOLD);
    let world = Arc::clone(&bench);
    let swept: usize = at_once(48, move |actor| {
        let bench = Arc::clone(&world);
        async move {
            if actor % 2 == 0 {
                return bench.expire(3).await.count;
            }
            let lines = if actor % 4 == 1 { [("b", 1), ("a", 1)] } else { [("a", 1), ("b", 1)] };
            bench.reserve(1000 + actor, &lines).await.unwrap();
            0
        }
    })
    .await
    .into_iter()
    .sum();
    let rest = bench.expire(1000).await.count;
    assert_eq!(swept + rest, 40);
    assert_eq!((bench.stock("a").await, bench.stock("b").await), ((1000, 24), (1000, 24)));
}

async fn commit_racing_release_has_one_winner(bench: Arc<Bench>) {
    bench.put("tea", 1000).await;
    for saga in 0..50 {
        let reservation = bench.reserve(saga, &[("tea", 1)]).await.unwrap();
        let (one, other) = (Arc::clone(&bench), Arc::clone(&bench));
        let committing = tokio::spawn(async move { one.commit(saga, reservation.id).await });
        let releasing = tokio::spawn(async move { other.release(saga).await });
        match (committing.await.unwrap(), releasing.await.unwrap()) {
            (Ok(_), Err(Rejection::NotAllowed { .. }))
            | (Err(Refusal::Rejected(Rejection::ReservationReleased { .. })), Ok(Released::Undone)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn commit_racing_the_sweeper_has_one_winner(bench: Arc<Bench>) {
    bench.put("tea", 1000).await;
    let mut open = Vec::new();
    for saga in 0..30 {
        open.push(bench.reserve(saga, &[("tea", 1)]).await.unwrap().id);
    }
    bench.clock.advance(HOLD);
    let (world, sagas) = (Arc::clone(&bench), open.clone());
    at_once(60, move |actor| {
        let (bench, saga) = (Arc::clone(&world), actor / 2);
        let id = sagas[usize::try_from(saga).unwrap()];
        async move {
            if actor % 2 == 0 {
                bench.expire(2).await;
            } else {
                assert_eq!(refused(&bench.commit(saga, id).await.unwrap_err()), "reservation has expired");
            }
        }
    })
    .await;
    bench.expire(100).await;
    for id in open {
        assert_eq!(bench.state(id).await, State::Expired);
    }
    assert_eq!(bench.stock("tea").await, (1000, 0));
}

async fn closing_a_commit_keeps_it_out(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    assert!(!bench.close_commit(1).await);
    assert_eq!(bench.commit(1, reservation.id).await, Err(Refusal::CommitClosed));
    assert!(!bench.close_commit(1).await);
    assert_eq!(bench.release(1).await, Ok(Released::Undone));

    let reservation = bench.reserve(2, &[("tea", 3)]).await.unwrap();
    bench.commit(2, reservation.id).await.unwrap();
    for _ in 0..2 {
        assert!(bench.close_commit(2).await);
    }
    assert_eq!(bench.commit(2, reservation.id).await.unwrap().state, State::Committed);

    let reservation = bench.reserve(3, &[("tea", 3)]).await.unwrap();
    bench.clock.advance(HOLD);
    bench.commit(3, reservation.id).await.unwrap_err();
    assert!(!bench.close_commit(3).await);
    assert_eq!(bench.stock("tea").await, (7, 0));
}

async fn close_racing_commit_agrees_with_it(bench: Arc<Bench>) {
    bench.put("tea", 1000).await;
    for saga in 0..50 {
        let reservation = bench.reserve(saga, &[("tea", 1)]).await.unwrap();
        let (one, other) = (Arc::clone(&bench), Arc::clone(&bench));
        let committing = tokio::spawn(async move { one.commit(saga, reservation.id).await });
        let closing = tokio::spawn(async move { other.close_commit(saga).await });
        match (committing.await.unwrap(), closing.await.unwrap()) {
            (Ok(_), true) => {}
            (Err(Refusal::CommitClosed), false) => assert_eq!(bench.release(saga).await, Ok(Released::Undone)),
            other => panic!("{other:?}"),
        }
    }
}

async fn a_fault_refuses_the_commit_and_expires_the_reservation(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.put("mug", 10).await;
    let reservation = bench.reserve(1, &[("mug", 1), ("tea", 3)]).await.unwrap();
    let refusal = bench.commit_refusing(1, reservation.id, &["tea"]).await.unwrap_err();
    assert_eq!(refused(&refusal), "reservation has expired");
    assert_eq!((bench.stock("tea").await, bench.state(reservation.id).await), ((10, 0), State::Expired));
    assert_eq!(bench.commit(1, reservation.id).await.unwrap_err(), refusal);
    let reservation = bench.reserve(2, &[("mug", 1)]).await.unwrap();
    bench.commit_refusing(2, reservation.id, &["tea"]).await.unwrap();
}

async fn restocking_happens_once(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let reservation = bench.reserve(1, &[("tea", 3)]).await.unwrap();
    assert_eq!(refused(&bench.restock(9, reservation.id).await.unwrap_err()), "cannot restock reservation it is held");
    bench.commit(1, reservation.id).await.unwrap();
    assert_eq!(bench.restock(1, reservation.id).await.unwrap().state, State::Restocked);
    // A second saga hears that the goods are back, and they do not come back twice.
    assert_eq!(bench.restock(2, reservation.id).await.unwrap().state, State::Restocked);
    assert_eq!(bench.stock("tea").await, (10, 0));
}

async fn items_are_put_and_listed(bench: Arc<Bench>) {
    for sku in ["b", "a", "d", "c", "e"] {
        bench.put(sku, 10).await;
    }
    let (mut listed, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = bench.store.list_items(after.as_ref(), 2).await.unwrap();
        sizes.push(page.items.len());
        listed.extend(page.items.into_iter().map(|item| item.sku.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((listed.join(""), sizes), ("abcde".to_owned(), vec![2, 2, 1]));
    assert_eq!(bench.store.list_items(None, 5).await.unwrap().next, None);

    let item = NewItem::try_new("a".parse().unwrap(), "Tea".into(), eur(700), 3).unwrap();
    let put = bench.store.put_item(item, bench.now()).await.unwrap().unwrap();
    assert_eq!((put.name.as_str(), put.unit_price, put.stock.available()), ("Tea", eur(700), 3));
    assert_eq!(bench.item("a").await, put);
    bench.put("a", 3).await;
    let found = bench.store.items(&["b".parse().unwrap(), "nothing".parse().unwrap()]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(bench.store.items(&[]).await.unwrap().is_empty());
}

async fn stock_on_hand_cannot_fall_below_what_is_held(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    bench.reserve(1, &[("tea", 3)]).await.unwrap();
    let item = |on_hand| NewItem::try_new("tea".parse().unwrap(), "Tea".into(), eur(500), on_hand).unwrap();
    let refused = bench.store.put_item(item(2), bench.now()).await.unwrap();
    assert_eq!(refused, Err(Unputtable { sku: "tea".parse().unwrap(), reserved: 3 }));
    assert_eq!(bench.stock("tea").await, (10, 3));
    bench.put("tea", 3).await;
    assert_eq!(bench.stock("tea").await, (3, 3));
}

async fn seeding_creates_only_what_is_missing(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    let item = |sku: &str| NewItem::try_new(sku.parse().unwrap(), "Seeded".into(), eur(1), 99).unwrap();
    let seed = || bench.store.seed(vec![item("tea"), item("mug")], bench.now());
    assert_eq!(seed().await.unwrap(), 1);
    assert_eq!(seed().await.unwrap(), 0);
    assert_eq!((bench.stock("tea").await, bench.stock("mug").await), ((10, 0), (99, 0)));
    let many = (0..2500).map(|number| item(&format!("bulk-{number}"))).collect();
    assert_eq!(bench.store.seed(many, bench.now()).await.unwrap(), 2500);
}

async fn reservations_are_paged_by_order_and_in_all(bench: Arc<Bench>) {
    bench.put("tea", 100).await;
    bench.put("mug", 100).await;
    let mut made = Vec::new();
    for saga in 0..5 {
        made.push(bench.reserve(saga, &[("tea", 1), ("mug", 2)]).await.unwrap());
    }
    let first = bench.store.reservations(None, None, 2).await.unwrap();
    assert_eq!((first.reservations.as_slice(), first.next), (&made[..2], Some(made[1].id)));
    let last = bench.store.reservations(None, Some(made[2].id), 2).await.unwrap();
    assert_eq!((last.reservations.as_slice(), last.next), (&made[3..], None));
    let of_one = bench.store.reservations(Some(made[3].order), None, 2).await.unwrap();
    assert_eq!((of_one.reservations.as_slice(), of_one.next), (&made[3..4], None));
    assert_eq!(bench.all_reservations().await.iter().map(|made| made.id).collect::<HashSet<_>>().len(), 5);
}

async fn the_database_itself_refuses_to_oversell(bench: Arc<Bench>) {
    bench.put("tea", 10).await;
    for change in ["reserved = 11", "reserved = -1", "on_hand = -1", "price_minor = 0"] {
        let sql = format!("UPDATE items SET {change} WHERE sku = 'tea'");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(bench.database.writer()).await.unwrap_err();
        assert!(matches!(amends_sql::SqlError::from(error), amends_sql::SqlError::CheckViolation(_)), "{change}");
    }
}
