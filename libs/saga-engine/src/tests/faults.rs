//! Whatever goes wrong, the saga ends and the books balance.

use std::{sync::Once, time::Duration};

use amends_primitives::{IdSource, SagaId, SeededIds};

use super::sample::{ALL, Notes, TripState, trip};
use crate::{
    Status,
    testkit::{Books, Ended, Fault, run_with},
};

/// Each fault gets a runtime of its own, in virtual time.
fn run(fault: Fault) -> (Ended, Books, Notes, SagaId) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (books, notes) = (Books::with_delay(Duration::from_millis(20)), Notes::default());
        let id = SagaId::new(SeededIds::new(7).next_id());
        let state = TripState { id: Some(id), ..TripState::default() };
        let ended = run_with(fault, trip(&books), notes.journal(), id, state).await;
        (ended, books, notes, id)
    })
}

/// Panics that are injected need no backtrace each.
pub(super) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"a fault was injected") {
                usual(panic);
            }
        }));
    });
}

fn check(fault: Fault) {
    let shown = fault.to_string();
    let may_park = fault.may_park(trip(&Books::default()).shape());
    let (ended, books, notes, id) = run(fault);
    assert_eq!(books.mistakes(), Vec::<String>::new(), "{shown}: {ended:#?}");
    let notes: Vec<_> = notes.of(id).into_iter().filter(|note| *note != "parked").collect();
    match ended.status() {
        Status::Completed => {
            assert_eq!(books.in_effect(id), ALL, "{shown}: {ended:#?}");
            assert_eq!(notes, ["confirmed"], "{shown}");
        }
        Status::Unwound => {
            assert_eq!(books.in_effect(id), Vec::<&str>::new(), "{shown}: {ended:#?}");
            assert_eq!(notes, ["failed"], "{shown}");
        }
        status => panic!("{shown}: ended {status}: {ended:#?}"),
    }
    assert!(!ended.was_parked || may_park, "{shown}: needed a human: {ended:#?}");
}

#[test]
fn every_single_fault() {
    quiet();
    let faults = Fault::every(trip(&Books::default()).shape());
    assert!(faults.len() > 200, "{}", faults.len());
    for fault in faults {
        check(fault);
    }
}

#[test]
fn every_pair() {
    quiet();
    for fault in Fault::every_pair(trip(&Books::default()).shape()) {
        check(fault);
    }
}
