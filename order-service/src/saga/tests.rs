//! Every single thing that can go wrong in either saga, on real steps over participants that keep books. Checked is money and goods, not
//! calls. In virtual time, with the journal in memory.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use amends_primitives::{Currency, Money, OrderId, SagaId, SeededIds, Timestamp};
use parking_lot::Mutex;
use saga_engine::{
    Definition, LocalOutcome, Refusal, Saga,
    plan::EffectKind,
    testkit::{CallFault, Ended, Fault, MemoryJournal, run_with},
};
use uuid::Uuid;

use super::{CancelOrder, OrderChange, Participants, PlaceOrder, cancel_order, place_order};
use crate::{
    config::SagaConfig,
    domain::{
        Applied, Command, CustomerId, Line, Order, OrderHead, PaymentMethod, Quantity, Sku, State, decide, evolve,
    },
    testkit::Books,
};

const SAGA: SagaId = SagaId::new(Uuid::from_u128(2));

/// One order, with participants that know only it.
struct World {
    books: Arc<Books>,
    order: Arc<Mutex<Order>>,
    journal: MemoryJournal<OrderChange>,
    participants: Arc<Participants>,
}

impl World {
    /// A pending order of two bags of beans, paid for by `method`.
    fn new(method: &str) -> Self {
        let lines = vec![Line {
            sku: Sku::try_new("beans").unwrap(),
            quantity: Quantity::try_new(2).unwrap(),
            unit_price: Money::new(1850, Currency::EUR),
        }];
        let head = OrderHead {
            id: OrderId::new(Uuid::from_u128(1)),
            customer: CustomerId::try_new("demo").unwrap(),
            total: Line::total(&lines).unwrap(),
            lines,
            payment_method: PaymentMethod::try_new(method).unwrap(),
            saga: SAGA,
            trace_id: String::new(),
            created_at: Timestamp::from_millis(0),
        };
        let order = Order { head, state: State::Pending, version: 1, updated_at: Timestamp::from_millis(0) };
        let (books, order) = (Books::new(), Arc::new(Mutex::new(order)));
        let changed = Arc::clone(&order);
        let journal = MemoryJournal::new(move |change: &OrderChange, now| apply(&mut changed.lock(), change, now));
        let participants = Arc::new(Participants {
            inventory: Arc::clone(&books) as _,
            payments: Arc::clone(&books) as _,
            ids: Arc::new(SeededIds::new(3)),
        });
        Self { books, order, journal, participants }
    }

    fn placing(&self) -> Definition<PlaceOrder> {
        place_order::definition(&self.participants, &SagaConfig::default().policy(), Duration::from_secs(30)).unwrap()
    }

    fn cancelling(&self) -> Definition<CancelOrder> {
        cancel_order::definition(&self.participants, &SagaConfig::default().policy()).unwrap()
    }

    fn input(&self) -> place_order::State {
        let head = self.order.lock().head.clone();
        place_order::State {
            order: head.id,
            customer: head.customer,
            lines: head.lines,
            total: head.total,
            payment_method: head.payment_method,
            correlation_id: Some("c-1".to_owned()),
            reservation: None,
            payment: None,
        }
    }

    async fn place(&self, fault: Fault) -> Ended {
        run_with(fault, self.placing(), self.journal.clone(), SAGA, self.input()).await
    }

    async fn cancel(&self, fault: Fault) -> Ended {
        let State::Confirmed { receipt, .. } = self.order.lock().state.clone() else { panic!("nothing to cancel") };
        let by = SagaId::new(Uuid::from_u128(4));
        let input = cancel_order::State {
            order: self.order.lock().head.id,
            by,
            payment: receipt.payment,
            reservation: receipt.reservation,
            correlation_id: None,
        };
        run_with(fault, self.cancelling(), self.journal.clone(), by, input).await
    }

    /// What stands in the order's row at the end.
    fn status(&self) -> &'static str {
        self.order.lock().status().as_str()
    }

    fn assert_balance(&self) {
        self.books.assert_balance(&[self.order.lock().clone()]);
    }
}

/// As `ApplyToOrders` does in SQL.
fn apply(order: &mut Order, change: &OrderChange, now: Timestamp) -> LocalOutcome {
    let (_, command, _) = match change.command() {
        Ok(command) => command,
        Err(refusal) => return LocalOutcome::Refused(refusal),
    };
    match decide(&order.state, &command, now) {
        Ok(Applied::Now(event)) => {
            order.state = evolve(order.state.clone(), &event).unwrap();
            order.version += 1;
            LocalOutcome::Applied
        }
        Ok(Applied::Already) => LocalOutcome::Applied,
        Err(rejection) => LocalOutcome::Refused(Refusal::new("order_not_cancellable", rejection.to_string())),
    }
}

fn last_message<S: Saga>(ended: &Ended, fault: &Fault) -> String {
    format!("{}: {fault} left {:#?}", S::NAME, ended.stored)
}

#[tokio::test(start_paused = true)]
async fn under_any_single_fault_an_order_is_paid_or_fully_undone() {
    for method in ["pm_ok", "pm_declined"] {
        for fault in Fault::every(World::new(method).placing().shape()) {
            let world = World::new(method);
            let ended = world.place(fault.clone()).await;
            assert!(ended.status().is_finished(), "{}", last_message::<PlaceOrder>(&ended, &fault));
            assert!(!ended.was_parked || fault.may_park(world.placing().shape()), "{fault} parked it");
            let expected = match ended.status() {
                saga_engine::Status::Completed => "confirmed",
                _ => "failed",
            };
            assert_eq!(world.status(), expected, "{}", last_message::<PlaceOrder>(&ended, &fault));
            world.assert_balance();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_things_that_go_wrong_are_no_worse() {
    // A sample: every pair would take minutes, and the engine's own tests try them all.
    let pairs = Fault::every_pair(World::new("pm_ok").placing().shape());
    for fault in pairs.into_iter().step_by(37) {
        let world = World::new("pm_ok");
        let ended = world.place(fault.clone()).await;
        assert!(ended.status().is_finished(), "{}", last_message::<PlaceOrder>(&ended, &fault));
        world.assert_balance();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_began_ends_whatever_goes_wrong() {
    for fault in Fault::every(World::new("pm_ok").cancelling().shape()) {
        let world = World::new("pm_ok");
        world.place(Fault::None).await;
        let ended = world.cancel(fault.clone()).await;
        assert_eq!(world.status(), "cancelled", "{}", last_message::<CancelOrder>(&ended, &fault));
        world.assert_balance();
        assert_eq!(world.books.available("beans"), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shipped_order_is_not_cancelled() {
    let world = World::new("pm_ok");
    world.place(Fault::None).await;
    let shipped = decide(&world.order.lock().state, &Command::Ship, Timestamp::default()).unwrap();
    let Applied::Now(event) = shipped else { panic!("shipped before") };
    let by = SagaId::new(Uuid::from_u128(4));
    let State::Confirmed { receipt, .. } = world.order.lock().state.clone() else { panic!("not confirmed") };
    let state = evolve(world.order.lock().state.clone(), &event).unwrap();
    world.order.lock().state = state;
    let input = cancel_order::State {
        order: world.order.lock().head.id,
        by,
        payment: receipt.payment,
        reservation: receipt.reservation,
        correlation_id: None,
    };
    let ended = run_with(Fault::None, world.cancelling(), world.journal.clone(), by, input).await;
    assert_eq!(ended.status(), saga_engine::Status::Unwound);
    assert_eq!((world.status(), world.books.calls("refund"), world.books.calls("restock")), ("shipped", 0, 0));
    world.assert_balance();
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_arrives_after_it_was_given_up_takes_nothing() {
    let late = |delay| Fault::Call {
        step: "charge_payment",
        kind: EffectKind::Act,
        attempt: None,
        what: CallFault::Late(Duration::from_secs(delay)),
    };
    for delay in [1, 5, 90] {
        let world = World::new("pm_ok");
        let ended = world.place(late(delay)).await;
        assert!(ended.status().is_finished());
        world.assert_balance();
    }
}

#[test]
fn the_audit_folds_by_the_steps_that_sagas_have() {
    let world = World::new("pm_ok");
    let (placing, cancelling) = (world.placing(), world.cancelling());
    for (outlined, real) in crate::shapes().iter().zip([placing.shape(), cancelling.shape()]) {
        let steps = |shape: &saga_engine::shape::Shape| {
            let step = |step: &saga_engine::shape::StepShape| (step.name, step.role, step.local, step.stage);
            shape.steps.iter().map(step).collect::<Vec<_>>()
        };
        assert_eq!((outlined.name, outlined.version), (real.name, real.version));
        assert_eq!((steps(outlined), &outlined.stages), (steps(real), &real.stages));
        assert_eq!(outlined.commit_stage, real.commit_stage);
    }
}

#[test]
fn every_refusal_of_a_participant_has_a_name_for_customers() {
    use saga_engine::{Failure, FailureKind};
    let check = |kind, code: &str, expected: &str, key_back: bool| {
        let failure = Failure { step: None, kind, code: code.to_owned(), message: "m".to_owned() };
        let explained = place_order::explain(&failure);
        assert_eq!((explained.code.as_str(), explained.code.gives_key_back()), (expected, key_back), "{code}");
    };
    let refused = FailureKind::Refused;
    check(refused, "insufficient_stock", "insufficient_stock", false);
    check(refused, "price_mismatch", "price_mismatch", false);
    check(refused, "declined", "payment_declined", false);
    check(refused, "insufficient_funds", "payment_declined", false);
    check(refused, "amount_limit_exceeded", "payment_declined", false);
    check(refused, "reservation_expired", "reservation_expired", false);
    check(refused, "reservation_released", "reservation_expired", false);
    check(refused, "unknown_sku", "unknown_sku", true);
    check(refused, "invalid_argument", "internal", true);
    check(FailureKind::Exhausted, "timeout", "dependency_unavailable", true);
    check(FailureKind::DeadlineExceeded, "deadline_exceeded", "dependency_unavailable", true);
    check(FailureKind::Cancelled, "cancelled", "dependency_unavailable", true);
}

/// What sagas store: readable for as long as rows may hold it.
#[test]
fn stored_states_are_a_contract() {
    let golden = |name: &str| {
        let file = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let place: place_order::State = serde_json::from_str(&golden("place_order_state.v1.json")).unwrap();
    let written = serde_json::to_value(&place).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(&golden("place_order_state.v1.json")).unwrap());
    let cancel: cancel_order::State = serde_json::from_str(&golden("cancel_order_state.v1.json")).unwrap();
    let written = serde_json::to_value(&cancel).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(&golden("cancel_order_state.v1.json")).unwrap());
}

/// Notes the lines of orders' stories: message, step, phase, outcome, attempt, and why; each only if the line has it.
#[derive(Clone, Default)]
struct Stories(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Stories {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "story"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(std::collections::BTreeMap<&'static str, String>);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
            }
        }
        let mut fields = Fields(std::collections::BTreeMap::new());
        event.record(&mut fields);
        let mut of = |name| fields.0.remove(name).unwrap_or_default();
        // What every line has.
        let ids = [of("order.id"), of("saga.id"), of("saga.name"), of("correlation_id")];
        assert_eq!(ids, [&*Uuid::from_u128(1).to_string(), &*SAGA.to_string(), "place-order", "c-1"]);
        let parts = ["message", "saga.step", "saga.phase", "saga.outcome", "retry.attempt", "error.type"].map(of);
        self.0.lock().push(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// The lines of one order that is placed under a fault.
async fn story(method: &str, fault: Fault) -> Vec<String> {
    // While one subscriber is all there is, tracing asks the thread that reaches a line first, of whatever test, whether the line is wanted.
    static ANOTHER: LazyLock<tracing::Dispatch> = LazyLock::new(|| tracing::Dispatch::new(Stories::default()));
    LazyLock::force(&ANOTHER);
    let stories = Stories::default();
    let told = tracing::subscriber::set_default(stories.clone());
    World::new(method).place(fault).await;
    drop(told);
    Arc::try_unwrap(stories.0).map_or_else(|shared| shared.lock().clone(), Mutex::into_inner)
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_a_confirmed_order_step_by_step() {
    let expected = [
        "accepted",
        "step done reserve_stock action done 1",
        "step done charge_payment action done 1",
        "step done commit_stock action done 1",
        "step done confirm_order action done 1",
        "settled completed",
    ];
    assert_eq!(story("pm_ok", Fault::None).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_why_an_order_was_undone() {
    let expected = [
        "accepted",
        "step done reserve_stock action done 1",
        "step refused charge_payment action refused 1 declined",
        "unwinding charge_payment declined",
        "compensated reserve_stock compensation undone 1",
        "settled unwound",
    ];
    assert_eq!(story("pm_declined", Fault::None).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_of_attempts_in_doubt_and_of_takeovers() {
    let doubt =
        Fault::Call { step: "reserve_stock", kind: EffectKind::Act, attempt: Some(1), what: CallFault::AnswerLost };
    let expected = [
        "accepted",
        "step in doubt reserve_stock action unknown 1 injected",
        "step done reserve_stock action done 2",
        "step done charge_payment action done 1",
        "step done commit_stock action done 1",
        "step done confirm_order action done 1",
        "settled completed",
    ];
    assert_eq!(story("pm_ok", doubt).await, expected);
    // The end is not durable yet: the replica that takes over repeats the steps, and tells them again.
    let expected = [
        "accepted",
        "step done reserve_stock action done 1",
        "step done charge_payment action done 1",
        "step done commit_stock action done 1",
        "taken over reserve_stock",
        "step done reserve_stock action done 1",
        "step done charge_payment action done 1",
        "step done commit_stock action done 1",
        "step done confirm_order action done 1",
        "settled completed",
    ];
    assert_eq!(story("pm_ok", Fault::CrashBeforeAppend(1)).await, expected);
}
