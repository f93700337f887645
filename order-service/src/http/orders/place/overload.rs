//! More orders than can be finished: what is let in is finished, and what is refused was never there.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use crate::testkit::{Fault, Platform, Reply};

const BEANS: &str = r#"{"items":[{"sku":"beans","quantity":1}],"payment_method":"pm_ok"}"#;

/// Orders that are let in at once by [`narrow`], most of them into the queue.
const ROOM: usize = 6;

/// A platform that works on one order at a time.
async fn narrow() -> Platform {
    Platform::with(|config| {
        (config.admission.working_min, config.admission.working_first) = (1, 1);
        config.saga.attempt_timeout_ms = 60_000;
        // A quarter is kept for repeats.
        config.limits.waiting_max = 8;
    })
    .await
}

fn is_refused_for_room(reply: &Reply) -> bool {
    reply.refusal() == "503 overloaded" && reply.header("retry-after") == Some("1")
}

#[tokio::test]
async fn four_times_the_room_is_served_or_told_to_come_back() {
    let platform = narrow().await;
    let keys: Vec<String> = (0..4 * ROOM).map(|number| format!("k{number}")).collect();
    platform.books.fault("charge", Fault::Hangs);
    let answered = AtomicUsize::new(0);
    let place = async |key: &String| {
        let reply = platform.place(key, BEANS, &[("prefer", "wait=30")]).await;
        answered.fetch_add(1, Ordering::Relaxed);
        reply
    };
    let (replies, ()) = tokio::join!(join_all(keys.iter().map(place)), async {
        // Those that are refused need not wait for those that are not.
        while answered.load(Ordering::Relaxed) < keys.len() - ROOM {
            tokio::task::yield_now().await;
        }
        platform.books.repair();
    });
    let served = replies.iter().filter(|reply| reply.status == 201).count();
    let refused = replies.iter().filter(|reply| is_refused_for_room(reply)).count();
    assert_eq!((served, refused), (ROOM, keys.len() - ROOM), "{replies:?}");
    // Nothing was written for those that were refused, and their keys are free.
    assert_eq!((platform.orders().await.len(), platform.books.payments()), (ROOM, ROOM));
    for (key, first) in keys.iter().zip(&replies) {
        let again = platform.place(key, BEANS, &[]).await;
        assert_eq!(again.status, 201, "{again:?}");
        assert_eq!(again.header("idempotency-replayed").is_some(), first.status == 201);
    }
    assert_eq!(platform.finish().await.len(), keys.len());
}

#[tokio::test]
async fn a_repeat_of_what_was_let_in_is_never_refused_for_room() {
    let platform = narrow().await;
    platform.books.fault("charge", Fault::Hangs);
    let first = platform.place("first", BEANS, &[("prefer", "respond-async")]).await;
    assert_eq!(first.status, 202);
    platform.books.called("charge", 1).await;
    let others: Vec<String> = (1..ROOM).map(|number| format!("k{number}")).collect();
    let (_, ()) = tokio::join!(join_all(others.iter().map(|key| platform.place(key, BEANS, &[]))), async {
        // The queue is full, as a new order finds out.
        while !is_refused_for_room(&platform.place("new", BEANS, &[("prefer", "wait=1")]).await) {}
        let again = platform.place("first", BEANS, &[("prefer", "respond-async")]).await;
        assert_eq!((again.status.as_u16(), again.order_id()), (202, first.order_id()));
        platform.books.repair();
    });
    platform.finish().await;
}

#[tokio::test]
async fn room_is_given_back_by_orders_whose_callers_left() {
    let platform = narrow().await;
    for number in 0..4 * ROOM {
        let reply = platform.place(&format!("k{number}"), BEANS, &[("prefer", "respond-async")]).await;
        assert!(matches!(reply.status.as_u16(), 201 | 202), "{reply:?}");
    }
    assert_eq!(platform.finish().await.len(), 4 * ROOM);
}
