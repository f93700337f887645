//! Crashes: a process that stops before or after each call to the store or the processor, at every one of them in turn. The next
//! process repeats, or compensates; then money is checked, not calls.
//!
//! The processor's own ledger is not stopped in the middle: it is another party, and keeps its word (`conformance.rs`).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use amends_primitives::PaymentId;
use amends_webhooks::event::Outgoing;
use async_trait::async_trait;
use payment_service::{
    app::{Error, Failure, Payments},
    domain::{Charge, Mode, Payment, Record, RefundAsked, Rejection, SettlementAsked, Status, StepKey},
    processor::{
        AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk,
        RefundOutcome, VoidOutcome,
    },
    store::{Claimed, ListQuery, Page, PaymentStore, StoreError, Swapped},
};
use tokio::sync::Notify;

use crate::support::{Place, World, capture_of, charge_of, eur, on_every_backend, payments, refund_of, void_of};

/// Stops the process: at the n-th moment, everything that waits waits for ever, and the test is told.
#[derive(Default)]
pub(crate) struct Stop {
    at: usize,
    moments: AtomicUsize,
    reached: Notify,
}

impl Stop {
    async fn moment(&self) {
        if self.moments.fetch_add(1, Ordering::SeqCst) == self.at {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.moment().await;
        let result = call.await;
        self.moment().await;
        result
    }
}

pub(crate) struct StoppingStore(Arc<dyn PaymentStore>, Arc<Stop>);

#[async_trait]
impl PaymentStore for StoppingStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.0.migrate().await
    }
    async fn claim(&self, record: &Record) -> Result<Claimed, StoreError> {
        self.1.around(self.0.claim(record)).await
    }
    async fn load(&self, key: &StepKey) -> Result<Option<Record>, StoreError> {
        self.1.around(self.0.load(key)).await
    }
    async fn find(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        self.1.around(self.0.find(id)).await
    }
    async fn swap_with_event(&self, next: &Payment, event: Option<&Outgoing>) -> Result<Swapped, StoreError> {
        self.1.around(self.0.swap_with_event(next, event)).await
    }
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.0.list(query).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
    async fn close(&self) {}
}

pub(crate) struct StoppingProcessor(Arc<dyn PaymentProcessor>, Arc<Stop>);

#[async_trait]
impl PaymentProcessor for StoppingProcessor {
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome {
        self.1.around(self.0.charge(ask)).await
    }
    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        self.1.around(self.0.authorize(ask)).await
    }
    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome {
        self.1.around(self.0.capture(ask)).await
    }
    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        self.1.around(self.0.void(charge)).await
    }
    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        self.1.around(self.0.refund(ask)).await
    }
}

/// A process that will stop at its `at`-th moment.
pub(crate) fn doomed(world: &World, at: usize) -> (Payments, Arc<Stop>) {
    let stop = Arc::new(Stop { at, ..Stop::default() });
    let store = Arc::new(StoppingStore(Arc::clone(&world.payments.store), Arc::clone(&stop)));
    let processor = Arc::new(StoppingProcessor(Arc::clone(&world.payments.processor), Arc::clone(&stop)));
    (payments(store, processor), stop)
}

/// Runs `call` until it ends or the process stops. Whether it stopped.
pub(crate) async fn until_stop<T>(stop: &Stop, call: impl Future<Output = T>) -> bool {
    tokio::select! {
        biased;
        () = stop.reached.notified() => true,
        _ = call => false,
    }
}

on_every_backend![
    a_charge_that_crashed_is_finished_by_its_repeat,
    a_charge_that_crashed_is_undone_by_its_compensation,
    a_compensation_that_crashed_is_finished_by_its_repeat,
    a_compensation_that_crashed_refuses_the_late_charge,
    a_capture_or_a_void_that_crashed_is_finished_by_its_repeat,
    a_refund_that_crashed_is_finished_by_its_repeat,
    a_refund_that_crashed_is_undone_with_its_charge,
];

/// Repeats until it is certain, as a saga does: a flaky processor may be in doubt again.
async fn charge_until_certain(world: &World, charge: &Charge) -> Result<Payment, Rejection> {
    for _ in 0..10 {
        match world.payments.charge(charge).await {
            Ok(payment) => return Ok(payment),
            Err(Error::Rejected(rejection)) => return Err(rejection),
            Err(Error::Failed(Failure::Processor(_))) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("{charge:?} is in doubt after 10 calls");
}

const METHODS: [&str; 3] = ["pm_ok", "pm_insufficient_funds", "pm_flaky"];

async fn a_charge_that_crashed_is_finished_by_its_repeat(place: &Place) {
    let world = place.world().await;
    for method in METHODS {
        let mut crashes = 0;
        loop {
            let charge = charge_of(500, method);
            let (process, stop) = doomed(&world, crashes);
            let stopped = until_stop(&stop, process.charge(&charge)).await;
            let end = charge_until_certain(&world, &charge).await;
            let taken = if method == "pm_insufficient_funds" {
                assert!(matches!(end, Err(Rejection::Declined { .. })), "{end:?}");
                0
            } else {
                assert_eq!(end.unwrap().status(), Status::Captured);
                500
            };
            assert_eq!(world.ledger_of(&charge.key).await, (taken, 0), "{method}, crash {crashes}");
            if !stopped {
                break;
            }
            crashes += 1;
        }
        // claim, ask, and (but where the processor is in doubt) swap: before and after each.
        assert_eq!(crashes, if method == "pm_flaky" { 4 } else { 6 }, "{method}");
    }
    world.assert_books_balance().await;
}

async fn a_charge_that_crashed_is_undone_by_its_compensation(place: &Place) {
    let world = place.world().await;
    for method in METHODS {
        for crash in 0.. {
            let charge = charge_of(500, method);
            let (process, stop) = doomed(&world, crash);
            let stopped = until_stop(&stop, process.charge(&charge)).await;
            world.compensate_until_done(&charge.key).await;
            assert_undone(&world, &charge).await;
            if !stopped {
                break;
            }
        }
    }
    world.assert_books_balance().await;
}

/// Nothing remains taken, and a late charge is refused.
async fn assert_undone(world: &World, charge: &Charge) {
    let (taken, given_back) = world.ledger_of(&charge.key).await;
    assert_eq!(taken, given_back, "{charge:?}");
    assert_eq!(world.held_of(&charge.key).await, 0, "{charge:?}");
    let late = charge_until_certain(world, charge).await;
    assert_eq!(late, Err(Rejection::StepCompensated(charge.key.clone())));
    assert_eq!(world.ledger_of(&charge.key).await, (taken, given_back), "{charge:?}");
}

/// What a compensation may find.
#[derive(Debug, Clone, Copy)]
enum Found {
    Nothing,
    InDoubt,
    TakenInDoubt,
    Captured,
    PartlyRefunded,
    RefundInDoubt,
    Declined,
    HeldInDoubt,
    Held,
    CaptureInDoubt,
    VoidInDoubt,
    PartlyCaptured,
}

const EVERYTHING: [Found; 12] = [
    Found::Nothing,
    Found::InDoubt,
    Found::TakenInDoubt,
    Found::Captured,
    Found::PartlyRefunded,
    Found::RefundInDoubt,
    Found::Declined,
    Found::HeldInDoubt,
    Found::Held,
    Found::CaptureInDoubt,
    Found::VoidInDoubt,
    Found::PartlyCaptured,
];

async fn prepared(world: &World, found: Found) -> Charge {
    use Found::{CaptureInDoubt, Held, HeldInDoubt, PartlyCaptured, VoidInDoubt};
    let mut charge = charge_of(500, if matches!(found, Found::Declined) { "pm_declined" } else { "pm_ok" });
    if matches!(found, HeldInDoubt | Held | CaptureInDoubt | VoidInDoubt | PartlyCaptured) {
        charge.mode = Mode::Authorize;
    }
    match found {
        Found::Nothing => {}
        // Stopped before the processor was asked, and after it had answered.
        Found::InDoubt | Found::TakenInDoubt => {
            let (process, stop) = doomed(world, if matches!(found, Found::InDoubt) { 2 } else { 3 });
            assert!(until_stop(&stop, process.charge(&charge)).await);
        }
        HeldInDoubt => {
            let (process, stop) = doomed(world, 3);
            assert!(until_stop(&stop, process.charge(&charge)).await);
            assert_eq!(world.held_of(&charge.key).await, 500);
        }
        PartlyCaptured => {
            let payment = world.payments.charge(&charge).await.unwrap();
            world.payments.end(&capture_of(&payment, Some(300))).await.unwrap();
        }
        CaptureInDoubt | VoidInDoubt => {
            let payment = world.payments.charge(&charge).await.unwrap();
            let taken = matches!(found, CaptureInDoubt);
            let asked = if taken { capture_of(&payment, Some(300)) } else { void_of(&payment) };
            // find, swap, then the question's answer.
            let (process, stop) = doomed(world, 5);
            assert!(until_stop(&stop, process.end(&asked)).await);
            assert_eq!(world.ledger_of(&charge.key).await, (if taken { 300 } else { 0 }, 0));
        }
        Found::Captured | Found::Declined | Held => {
            let _ = charge_until_certain(world, &charge).await;
        }
        Found::PartlyRefunded | Found::RefundInDoubt => {
            let payment = world.payments.charge(&charge).await.unwrap();
            let refund = refund_of(&payment, Some(120));
            if matches!(found, Found::PartlyRefunded) {
                world.payments.refund(&refund).await.unwrap();
            } else {
                // find, swap, then the question's answer.
                let (process, stop) = doomed(world, 5);
                assert!(until_stop(&stop, process.refund(&refund)).await);
                assert_eq!(world.ledger_of(&charge.key).await, (500, 120));
            }
        }
    }
    charge
}

async fn a_compensation_that_crashed_is_finished_by_its_repeat(place: &Place) {
    let world = place.world().await;
    for found in EVERYTHING {
        for crash in 0.. {
            let charge = prepared(&world, found).await;
            let (process, stop) = doomed(&world, crash);
            let stopped = until_stop(&stop, process.compensate_charge(&charge.key)).await;
            world.compensate_until_done(&charge.key).await;
            assert_undone(&world, &charge).await;
            if !stopped {
                assert!(crash >= 2, "{found:?}: there is at least the claim to stop at");
                break;
            }
        }
    }
    world.assert_books_balance().await;
}

/// The worst of it: the compensation stops half-way, a delayed charge arrives, and only then the compensation is repeated.
async fn a_compensation_that_crashed_refuses_the_late_charge(place: &Place) {
    let world = place.world().await;
    for found in EVERYTHING {
        for crash in 0.. {
            let charge = prepared(&world, found).await;
            let (process, stop) = doomed(&world, crash);
            let stopped = until_stop(&stop, process.compensate_charge(&charge.key)).await;
            let _ = charge_until_certain(&world, &charge).await;
            world.compensate_until_done(&charge.key).await;
            assert_undone(&world, &charge).await;
            if !stopped {
                break;
            }
        }
    }
    world.assert_books_balance().await;
}

async fn a_capture_or_a_void_that_crashed_is_finished_by_its_repeat(place: &Place) {
    let world = place.world().await;
    for (make, status, taken) in [
        ((|payment| capture_of(payment, Some(300))) as fn(&Payment) -> SettlementAsked, Status::Captured, 300),
        (void_of, Status::Voided, 0),
    ] {
        for crash in 0.. {
            let authorization = Charge { mode: Mode::Authorize, ..charge_of(500, "pm_ok") };
            let payment = world.payments.charge(&authorization).await.unwrap();
            let asked = make(&payment);
            let (process, stop) = doomed(&world, crash);
            let stopped = until_stop(&stop, process.end(&asked)).await;
            let ended = world.payments.end(&asked).await.unwrap();
            assert_eq!((ended.status(), ended.captured()), (status, eur(taken)), "crash {crash}");
            assert_eq!(world.ledger_of(&authorization.key).await, (taken, 0), "crash {crash}");
            assert_eq!(world.held_of(&authorization.key).await, 0, "crash {crash}");
            if !stopped {
                assert_eq!(crash, 8, "find, swap, ask, swap: before and after each");
                break;
            }
        }
    }
    world.assert_books_balance().await;
}

async fn crashed_refund(world: &World, crash: usize) -> (Charge, RefundAsked, bool) {
    let charge = charge_of(500, "pm_ok");
    let payment = world.payments.charge(&charge).await.unwrap();
    let refund = refund_of(&payment, Some(120));
    let (process, stop) = doomed(world, crash);
    let stopped = until_stop(&stop, process.refund(&refund)).await;
    (charge, refund, stopped)
}

async fn a_refund_that_crashed_is_finished_by_its_repeat(place: &Place) {
    let world = place.world().await;
    for crash in 0.. {
        let (charge, refund, stopped) = crashed_refund(&world, crash).await;
        let payment = world.payments.refund(&refund).await.unwrap();
        assert_eq!((payment.status(), payment.refunded()), (Status::PartiallyRefunded, eur(120)));
        assert_eq!(world.ledger_of(&charge.key).await, (500, 120), "crash {crash}");
        if !stopped {
            assert_eq!(crash, 8, "find, swap, ask, swap: before and after each");
            break;
        }
    }
    world.assert_books_balance().await;
}

async fn a_refund_that_crashed_is_undone_with_its_charge(place: &Place) {
    let world = place.world().await;
    for crash in 0.. {
        let (charge, refund, stopped) = crashed_refund(&world, crash).await;
        world.compensate_until_done(&charge.key).await;
        assert_undone(&world, &charge).await;
        assert_eq!(world.ledger_of(&charge.key).await, (500, 500), "crash {crash}");
        // A repeat is told what became of it: done where it was begun, else refused.
        match world.payments.refund(&refund).await {
            Ok(payment) => assert_eq!(payment.refunded(), eur(120)),
            Err(Error::Rejected(Rejection::IllegalState { .. })) => {}
            other => panic!("{other:?}"),
        }
        if !stopped {
            break;
        }
    }
    world.assert_books_balance().await;
}
