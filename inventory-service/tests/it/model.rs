//! Random histories of a few sagas over little stock: every command is sent twice, as networks do, and the books balance at the end.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use inventory_service::{domain::State, ports::Released};
use proptest::prelude::*;

use crate::bench::{Bench, HOLD};

/// What may happen. Sagas are 0 to 3; a saga's reservation may be asked for by another saga.
#[derive(Debug, Clone)]
enum Event {
    Reserve { saga: u64, tea: u32, mugs: u32 },
    Release { saga: u64 },
    Commit { saga: u64, of: u64 },
    Close { saga: u64 },
    Restock { saga: u64, of: u64 },
    TimePasses { tenths_of_a_hold: u32 },
    Sweep { limit: u32 },
}

fn event() -> impl Strategy<Value = Event> {
    let saga = || 0..4_u64;
    prop_oneof![
        4 => (saga(), 1..4_u32, 1..3_u32).prop_map(|(saga, tea, mugs)| Event::Reserve { saga, tea, mugs }),
        2 => saga().prop_map(|saga| Event::Release { saga }),
        4 => (saga(), saga()).prop_map(|(saga, of)| Event::Commit { saga, of }),
        1 => saga().prop_map(|saga| Event::Close { saga }),
        2 => (saga(), saga()).prop_map(|(saga, of)| Event::Restock { saga, of }),
        2 => (1..8_u32).prop_map(|tenths_of_a_hold| Event::TimePasses { tenths_of_a_hold }),
        1 => (1..3_u32).prop_map(|limit| Event::Sweep { limit }),
    ]
}

async fn live_through(history: Vec<Event>) {
    let bench = Bench::sqlite().await.unwrap();
    bench.put("tea", 8).await;
    bench.put("mug", 4).await;
    let (mut reserved, mut closed, mut undone) = (HashMap::new(), HashSet::new(), HashSet::new());
    for event in history {
        match event {
            Event::Reserve { saga, tea, mugs } => {
                let lines = [("tea", tea), ("mug", mugs)];
                let answers = [bench.reserve(saga, &lines).await, bench.reserve(saga, &lines).await];
                assert_eq!(answers[0], answers[1]);
                if let [Ok(reservation), _] = answers {
                    assert!(!undone.contains(&saga), "a reservation arrived after it was undone");
                    let first = reserved.entry(saga).or_insert(reservation.id);
                    assert_eq!(*first, reservation.id, "one key, two reservations");
                }
            }
            Event::Release { saga } => {
                let answers = [bench.release(saga).await, bench.release(saga).await];
                match &answers {
                    [Ok(first), Ok(second)] => {
                        undone.insert(saga);
                        let was_reserved = reserved.contains_key(&saga);
                        assert_eq!(*first == Released::NothingToUndo, !was_reserved);
                        let repeat = if was_reserved { Released::AlreadyUndone } else { Released::NothingToUndo };
                        assert_eq!(*second, repeat);
                    }
                    [Err(first), Err(second)] => {
                        assert_eq!(first, second);
                        let state = bench.state(reserved[&saga]).await;
                        assert!(matches!(state, State::Committed | State::Restocked), "{state:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            Event::Commit { saga, of } => {
                let Some(id) = reserved.get(&of).copied() else { continue };
                let before = bench.state(id).await;
                let answers = [bench.commit(saga, id).await, bench.commit(saga, id).await];
                assert_eq!(answers[0], answers[1]);
                assert!(!(answers[0].is_ok() && closed.contains(&saga)), "a commit arrived after it was closed");
                if before == State::Released {
                    assert_eq!(bench.state(id).await, State::Released);
                }
            }
            Event::Close { saga } => {
                let answers = [bench.close_commit(saga).await, bench.close_commit(saga).await];
                assert_eq!(answers[0], answers[1]);
                if !answers[0] {
                    closed.insert(saga);
                }
            }
            Event::Restock { saga, of } => {
                let Some(id) = reserved.get(&of).copied() else { continue };
                let answers = [bench.restock(saga, id).await, bench.restock(saga, id).await];
                assert_eq!(answers[0], answers[1]);
            }
            Event::TimePasses { tenths_of_a_hold } => bench.clock.advance(HOLD / 10 * tenths_of_a_hold),
            Event::Sweep { limit } => {
                let expired = bench.expire(limit).await;
                assert!(expired.count <= limit as usize);
            }
        }
    }
    bench.clock.advance(HOLD + Duration::from_secs(1));
    while bench.expire(2).await.may_have_more {}
    assert_eq!((bench.stock("tea").await.1, bench.stock("mug").await.1), (0, 0), "held for ever");
    bench.close().await;
}

proptest! {
    // Each case opens a database of its own.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_books_balance(history in prop::collection::vec(event(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live_through(history));
    }
}
