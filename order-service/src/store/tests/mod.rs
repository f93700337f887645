//! The conformance suite of the order store: one list of promises, kept on SQLite and on PostgreSQL.

mod migration;

use std::{
    future::Future,
    sync::{Arc, mpsc},
    time::Duration,
};

use amends_primitives::{Currency, Money, OrderId, PaymentId, ReservationId, SagaId, Timestamp};
use amends_sql::{Database, Options, Schema, Tx, checks::Slice};
use async_trait::async_trait;
use service_base::metrics::Metrics;
use sqlx::AssertSqlSafe;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    ApplyToOrders, Journal, SCHEMA, SqlOrders, Subject, audit, change_in_tx, checks, payload_of, settle_in_tx,
};
use crate::{
    build,
    domain::{
        Applied, Command, CustomerId, Event, Failure, FailureCode, Line, Order, OrderHead, PaymentMethod, Quantity,
        Receipt, Sku, State, Status,
    },
    metrics::Meters,
    ports::{
        BeginError, Changed, Fingerprint, IdempotencyKey, ListOrders, OrderStore as _, Placed, SagaStart, StartOrder,
        Started,
    },
    testkit::Postgres,
};

struct World {
    database: Database,
    store: SqlOrders,
}

/// Begins no saga: what the engine does in the transaction is the engine's to test.
struct Nothing;

#[async_trait]
impl SagaStart for Nothing {
    async fn start_in_tx(&self, _tx: &mut Tx) -> Result<(), BeginError> {
        Ok(())
    }
}

struct Refuses;

#[async_trait]
impl SagaStart for Refuses {
    async fn start_in_tx(&self, _tx: &mut Tx) -> Result<(), BeginError> {
        Err(BeginError::Overloaded)
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn customer(name: &str) -> CustomerId {
    CustomerId::try_new(name).unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::try_new(text).unwrap()
}

/// An order of two lines, `n` its id and its key.
fn start(n: u128, who: &str) -> StartOrder {
    let line = |sku: &str, quantity| Line {
        sku: Sku::try_new(sku).unwrap(),
        quantity: Quantity::try_new(quantity).unwrap(),
        unit_price: Money::new(1850, Currency::EUR),
    };
    let lines = vec![line("zebra", 2), line("ant", 1)];
    let total = Line::total(&lines).unwrap();
    let head = OrderHead {
        id: OrderId::new(id(n)),
        customer: customer(who),
        lines: lines.clone(),
        total,
        payment_method: PaymentMethod::try_new("pm_ok").unwrap(),
        saga: SagaId::new(id(1000 + n)),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        created_at: at(0),
    };
    StartOrder {
        order: Order { head, state: State::Pending, version: 1, updated_at: at(0) },
        placed: Event::Placed { lines, total },
        key: key(&format!("k{n}")),
        fingerprint: Fingerprint::of(format!("{n}").as_bytes()),
        key_expires_at: at(1_000),
    }
}

fn receipt() -> Receipt {
    Receipt { payment: PaymentId::new(id(7)), reservation: ReservationId::new(id(8)) }
}

impl World {
    fn new(database: Database) -> Self {
        let apply = ApplyToOrders::new(database.dialect(), Meters::new(&Metrics::new()));
        let store = SqlOrders::new(database.clone(), Arc::new(Journal::new(database.clone(), apply)));
        Self { database, store }
    }

    async fn begin(&self, n: u128, who: &str) -> OrderId {
        assert_eq!(self.store.start(start(n, who), Arc::new(Nothing)).await.unwrap(), Started::First);
        OrderId::new(id(n))
    }

    async fn change(&self, order: OrderId, command: Command, give_key_back: bool) -> Result<Applied<Changed>, String> {
        let mut tx = self.database.begin().await.unwrap();
        let changed =
            change_in_tx(self.database.dialect(), &mut tx, order, &command, at(5), give_key_back).await.unwrap();
        tx.commit().await.unwrap();
        changed.map_err(|rejection| rejection.to_string())
    }

    async fn order(&self, order: OrderId) -> Order {
        self.store.order(order).await.unwrap().unwrap()
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.database.reader()).await.unwrap()
    }

    async fn list(&self, ask: ListOrders) -> (Vec<u128>, Option<u128>) {
        let page = self.store.list(&ask).await.unwrap();
        let number = |id: OrderId| id.as_uuid().as_u128();
        (page.orders.iter().map(|order| number(order.head.id)).collect(), page.next.map(number))
    }
}

async fn what_is_written_is_read(world: World) {
    let order = world.begin(1, "demo").await;
    assert_eq!(world.order(order).await, start(1, "demo").order);
    assert_eq!(world.store.order(OrderId::new(id(2))).await.unwrap(), None);
    let claim = world.store.claim(&customer("demo"), &key("k1")).await.unwrap().unwrap();
    assert_eq!((claim.order, claim.fingerprint), (order, start(1, "demo").fingerprint));
    assert_eq!(world.store.claim(&customer("other"), &key("k1")).await.unwrap(), None);
}

async fn one_key_is_one_order(world: World) {
    let order = world.begin(1, "demo").await;
    let again = StartOrder { key: key("k1"), ..start(2, "demo") };
    let Started::Again(claim) = world.store.start(again, Arc::new(Nothing)).await.unwrap() else {
        panic!("two orders")
    };
    assert_eq!(claim.order, order);
    assert_eq!((world.count("orders").await, world.count("order_lines").await, world.count("outbox").await), (1, 2, 1));
    // Another customer's key of the same text is another key.
    let others = StartOrder { key: key("k1"), ..start(3, "other") };
    assert_eq!(world.store.start(others, Arc::new(Nothing)).await.unwrap(), Started::First);
}

async fn a_race_for_one_key_has_one_winner(world: World) {
    let attempts =
        (1..=16).map(|n| world.store.start(StartOrder { key: key("k"), ..start(n, "demo") }, Arc::new(Nothing)));
    let started = futures::future::join_all(attempts).await;
    let claims: Vec<_> = started.into_iter().map(Result::unwrap).collect();
    assert_eq!(claims.iter().filter(|started| **started == Started::First).count(), 1);
    let winner = world.store.claim(&customer("demo"), &key("k")).await.unwrap().unwrap();
    for started in claims {
        assert!(matches!(started, Started::First) || started == Started::Again(winner.clone()));
    }
    assert_eq!(world.count("orders").await, 1);
}

async fn an_order_whose_saga_cannot_begin_is_not_there(world: World) {
    let refused = world.store.start(start(1, "demo"), Arc::new(Refuses)).await;
    assert!(matches!(refused, Err(BeginError::Overloaded)));
    for table in ["orders", "order_lines", "outbox"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}

async fn every_state_is_kept(world: World) {
    let by = SagaId::new(id(9));
    let confirmed = world.begin(1, "demo").await;
    let now = |changed: Result<Applied<Changed>, String>| match changed {
        Ok(Applied::Now(changed)) => changed.status,
        other => panic!("{other:?}"),
    };
    assert_eq!(now(world.change(confirmed, Command::Confirm { receipt: receipt() }, false).await), Status::Confirmed);
    assert_eq!(world.order(confirmed).await.state, State::Confirmed { receipt: receipt(), at: at(5) });
    assert_eq!(world.change(confirmed, Command::Confirm { receipt: receipt() }, false).await, Ok(Applied::Already));
    assert_eq!(now(world.change(confirmed, Command::MarkCancelling { by }, false).await), Status::Cancelling);
    let order = world.order(confirmed).await;
    assert_eq!(order.state, State::Cancelling { receipt: receipt(), confirmed_at: at(5), by });
    assert_eq!((order.version, order.latest_saga(), order.updated_at), (3, by, at(5)));
    assert_eq!(
        world.change(confirmed, Command::Ship, false).await.unwrap_err(),
        "an order that is cancelling cannot ship"
    );
    assert_eq!(now(world.change(confirmed, Command::MarkCancelled { by }, false).await), Status::Cancelled);
    let order = world.order(confirmed).await;
    assert_eq!(order.state, State::Cancelled { receipt: receipt(), confirmed_at: at(5), by });
    assert_eq!(order.as_settled().unwrap().state, State::Confirmed { receipt: receipt(), at: at(5) });

    let failed = world.begin(2, "demo").await;
    let failure = Failure { code: FailureCode::PaymentDeclined, message: "the payment was declined".into() };
    let refunded = Some(PaymentId::new(id(7)));
    now(world.change(failed, Command::Fail { failure: failure.clone(), refunded }, false).await);
    assert_eq!(world.order(failed).await.state, State::Failed { failure, refunded, at: at(5) });
    assert!(
        world.store.claim(&customer("demo"), &key("k2")).await.unwrap().is_some(),
        "a settled answer keeps its key"
    );

    let shipped = world.begin(3, "demo").await;
    now(world.change(shipped, Command::Confirm { receipt: receipt() }, false).await);
    now(world.change(shipped, Command::Ship, false).await);
    assert_eq!(world.order(shipped).await.state, State::Shipped { receipt: receipt(), confirmed_at: at(5) });
    // One event for each change.
    assert_eq!(world.count("outbox").await, 4 + 2 + 3);
}

async fn a_saga_settles_what_it_placed_and_nothing_else(world: World) {
    let order = world.begin(1, "demo").await;
    let placed = |who: &str, minor| Placed { customer: customer(who), total: Money::new(minor, Currency::EUR) };
    let confirm = Command::Confirm { receipt: receipt() };
    let settle = async |placed: Placed, command: &Command, give_key_back| {
        let mut tx = world.database.begin().await.unwrap();
        let settled = settle_in_tx(&mut tx, order, &placed, command, at(5), give_key_back).await.unwrap();
        tx.commit().await.unwrap();
        settled
    };
    for (other, command) in
        [(placed("other", 5550), &confirm), (placed("demo", 1), &confirm), (placed("demo", 5550), &Command::Ship)]
    {
        assert_eq!(settle(other, command, true).await, None);
    }
    assert_eq!(world.order(order).await, start(1, "demo").order);
    let settled = settle(placed("demo", 5550), &confirm, false).await.unwrap();
    assert_eq!((settled.status, settled.created_at), (Status::Confirmed, at(0)));
    assert_eq!(settled.trace_id, start(1, "demo").order.head.trace_id);
    assert_eq!(settle(placed("demo", 5550), &confirm, false).await, None, "it is settled");
    let as_changed = world.begin(2, "demo").await;
    let _ = world.change(as_changed, confirm.clone(), false).await.unwrap();
    let (one, other) = (world.order(order).await, world.order(as_changed).await);
    assert_eq!((one.state, one.version, one.updated_at), (other.state, other.version, other.updated_at));
    assert!(world.store.claim(&customer("demo"), &key("k1")).await.unwrap().is_some());
    assert_eq!(world.count("outbox").await, 4);
}

async fn a_key_that_is_given_back_may_be_used_anew(world: World) {
    let order = world.begin(1, "demo").await;
    let failure = Failure { code: FailureCode::DependencyUnavailable, message: "a service was away".into() };
    let _ = world.change(order, Command::Fail { failure, refunded: None }, true).await.unwrap();
    assert_eq!(world.store.claim(&customer("demo"), &key("k1")).await.unwrap(), None);
    let anew = StartOrder { key: key("k1"), ..start(2, "demo") };
    assert_eq!(world.store.start(anew, Arc::new(Nothing)).await.unwrap(), Started::First);
}

async fn pages_are_newest_first_and_filtered(world: World) {
    for n in 1..=6 {
        let order = world.begin(n, if n == 4 { "other" } else { "demo" }).await;
        if n % 2 == 0 {
            let _ = world.change(order, Command::Confirm { receipt: receipt() }, false).await.unwrap();
        }
    }
    let all = ListOrders { customer: None, status: None, before: None, limit: 10 };
    assert_eq!(world.list(all.clone()).await, (vec![6, 5, 4, 3, 2, 1], None));
    let demo = ListOrders { customer: Some(customer("demo")), limit: 2, ..all.clone() };
    assert_eq!(world.list(demo.clone()).await, (vec![6, 5], Some(5)));
    let next = ListOrders { before: Some(OrderId::new(id(5))), ..demo.clone() };
    assert_eq!(world.list(next).await, (vec![3, 2], Some(2)));
    let last = ListOrders { before: Some(OrderId::new(id(2))), ..demo.clone() };
    assert_eq!(world.list(last).await, (vec![1], None));
    let confirmed = ListOrders { status: Some(Status::Confirmed), ..demo };
    assert_eq!(world.list(confirmed).await, (vec![6, 2], None));
    let pending = ListOrders { status: Some(Status::Pending), ..all };
    assert_eq!(world.list(pending).await, (vec![5, 3, 1], None));
    let lines = world.store.list(&ListOrders { customer: None, status: None, before: None, limit: 1 }).await.unwrap();
    assert_eq!(lines.orders[0].head.lines, start(6, "demo").order.head.lines);
}

async fn the_audit_sees_every_order_once(world: World) {
    for n in 1..=5 {
        world.begin(n, "demo").await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = audit::orders_after(&world.database, &after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        seen.extend(page);
    }
    let ids: Vec<String> = (1..=5).map(|n| OrderId::new(id(n)).to_string()).collect();
    assert_eq!(seen.iter().map(|order| order.id.clone()).collect::<Vec<_>>(), ids);
    let first = &seen[0];
    assert_eq!((first.status.as_str(), first.total_minor, first.lines.len()), ("pending", 5550, 2));
    assert_eq!(audit::orders_of(&world.database, &ids[1..3]).await.unwrap(), seen[1..3]);
}

async fn events_say_what_their_orders_say(world: World) {
    let order = world.begin(1, "demo").await;
    let _ = world.change(order, Command::Confirm { receipt: receipt() }, false).await.unwrap();
    world.begin(2, "demo").await;
    let breaches = async || {
        let (mut all, mut after) = (Vec::new(), Some(String::new()));
        while let Some(from) = after {
            let (found, next) = audit::payloads_after(&world.database, &from, 1).await.unwrap();
            all.extend(found.into_iter().map(|breach| breach.detail));
            after = next;
        }
        all
    };
    assert_eq!(breaches().await, Vec::<String>::new());
    let spoilt = "UPDATE orders SET events = replace(events, '5550', '1') WHERE version = 2";
    sqlx::query(spoilt).execute(world.database.writer()).await.unwrap();
    let found = breaches().await;
    assert_eq!(found.len(), 2);
    assert!(found[1].starts_with("its event of version 2 says total {\"amount_minor\":1,"), "{found:?}");
}

async fn what_is_past_its_time_goes(world: World) {
    let settled = world.begin(1, "demo").await;
    world.begin(2, "demo").await;
    let _ = world.change(settled, Command::Confirm { receipt: receipt() }, false).await.unwrap();
    let early = world.store.sweep(at(999), at(0)).await.unwrap();
    assert_eq!((early.keys, early.events), (0, 0));
    // A key of an order in motion stays, however old, and so do the events of an order that has changed since.
    let late = world.store.sweep(at(1_000), at(1)).await.unwrap();
    assert_eq!((late.keys, late.events, late.may_have_more), (1, 1, false));
    assert!(world.store.claim(&customer("demo"), &key("k1")).await.unwrap().is_none());
    assert!(world.store.claim(&customer("demo"), &key("k2")).await.unwrap().is_some());
    assert_eq!(world.count("outbox").await, 2);
    assert_eq!(world.store.sweep(at(1_000), at(6)).await.unwrap().events, 1);
    assert_eq!(world.count("outbox").await, 0);
    // What happens after that is told nevertheless.
    let _ = world.change(settled, Command::Ship, false).await.unwrap();
    let left: (i64, String) =
        sqlx::query_as("SELECT order_version, kind FROM outbox").fetch_one(world.database.reader()).await.unwrap();
    assert_eq!(left, (3, "order_shipped".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_orders_that_meet_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = amends_sql::sqlite_url(&dir.path().join("order.db")).unwrap();
    let database = Database::connect_lazy(&url, &Options::default()).unwrap();
    for schema in build::schemas() {
        database.migrate(&schema).await.unwrap();
    }
    let world = World::new(database);
    let mut placed = 0;
    for round in 0..3 {
        world.database.fill_up();
        let refused = loop {
            let n = placed + 1;
            assert!(n < 10_000, "the disk never filled up");
            match world.store.start(start(n, "demo"), Arc::new(Nothing)).await {
                Ok(Started::First) => placed = n,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, BeginError::Store(error) if error.is_transient()), "{refused:?}");
        if round == 1 {
            world.database.turn_read_only();
            let refused = world.store.start(start(placed + 1, "demo"), Arc::new(Nothing)).await.unwrap_err();
            assert!(matches!(&refused, BeginError::Store(error) if error.is_transient()), "{refused:?}");
        }
        assert!(world.database.ready().await.is_err());
        world.database.repair();
        assert_eq!(world.store.start(start(placed + 1, "demo"), Arc::new(Nothing)).await.unwrap(), Started::First);
        world.database.ready().await.unwrap();
        placed += 1;
    }
    for table in ["orders", "outbox"] {
        assert_eq!(u128::try_from(world.count(table).await).unwrap(), placed, "{table}");
    }
}

/// Holds the thread that writes, as a disk that hangs does, until the other end of `disk` is dropped; tells when it begins.
fn hang(journal: &Arc<Journal>, disk: mpsc::Receiver<()>) -> (oneshot::Receiver<()>, impl Future<Output = ()> + use<>) {
    let (begins, begun) = oneshot::channel();
    let journal = Arc::clone(journal);
    let work = async move {
        // Written after all orders of its transaction.
        let work = journal.transact("~".to_owned(), move |_| {
            Box::pin(async move {
                begins.send(()).ok();
                disk.recv().ok();
                Ok::<_, BeginError>(())
            })
        });
        work.await.ok();
    };
    (begun, work)
}

#[tokio::test]
async fn a_start_is_kept_until_its_late_commit_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let bound = Duration::from_millis(500);
    let options = Options { acquire_timeout: bound, statement_timeout: bound, ..Options::default() };
    let url = amends_sql::sqlite_url(&dir.path().join("order.db")).unwrap();
    let database = Database::connect_lazy(&url, &options).unwrap();
    for schema in build::schemas() {
        database.migrate(&schema).await.unwrap();
    }
    let apply = ApplyToOrders::new(database.dialect(), Meters::new(&Metrics::new()));
    let journal = Arc::new(Journal::new(database.clone(), apply));
    let store = SqlOrders::new(database, Arc::clone(&journal));

    let (earlier, disk) = mpsc::channel();
    let (begun, hung) = hang(&journal, disk);
    let hung = tokio::spawn(hung);
    begun.await.unwrap();
    // These two are one transaction.
    let saga: Arc<dyn SagaStart> = Arc::new(Nothing);
    let kept = Arc::downgrade(&saga);
    let mut starting = Box::pin(store.start(start(1, "demo"), saga));
    assert!(futures::poll!(&mut starting).is_pending());
    let (now, disk) = mpsc::channel();
    let (begun, hung_too) = hang(&journal, disk);
    let mut hung_too = Box::pin(hung_too);
    assert!(futures::poll!(&mut hung_too).is_pending());
    drop(earlier);
    begun.await.unwrap();

    starting.await.unwrap_err();
    assert_eq!(kept.strong_count(), 1, "the engine looks for a saga that is not committed yet, and not again");
    drop(now);
    while kept.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(store.order(OrderId::new(id(1))).await.unwrap().is_some());
    hung.await.unwrap();
}

async fn rows_that_a_hand_has_spoilt_are_told_of(world: World) {
    let breaches = async || {
        let mut found = Vec::new();
        let checks = [
            &checks::OF_ORDERS[..],
            &[checks::KEY_MISSING, checks::KEY_NAMES_OTHER_ORDER, checks::EVENT_MISSING, checks::EVENT_UNFOUNDED],
        ];
        for check in checks.concat() {
            let breaches = world.database.breaches(&check, &Slice::whole(), 0).await.unwrap();
            found.extend(breaches.into_iter().map(|breach| format!("{}: {}", breach.code, breach.detail)));
        }
        found.sort();
        found
    };
    for n in 1..=8 {
        let order = world.begin(n, "demo").await;
        let failure = Failure { code: FailureCode::DependencyUnavailable, message: "a service was away".into() };
        if n > 6 {
            let _ = world.change(order, Command::Fail { failure, refunded: None }, n == 7).await.unwrap();
        }
    }
    assert_eq!(
        breaches().await,
        [
            "key_names_other_order: the record of demo names order 00000000-0000-0000-0000-000000000008, which failed with dependency_unavailable and gave its key back"
        ]
    );
    let spoilt = [
        "lines = replace(lines, '1850', '1')",
        "lines = '[7]'",
        "key_fingerprint = NULL, key_expires_at = NULL",
        "events = NULL",
        "events = replace(events, 'order_placed', 'order_shipped')",
        "events = replace(events, '\"version\":1', '\"version\":\"one\"')",
    ];
    for (n, set) in (1..).zip(spoilt) {
        let sql = format!("UPDATE orders SET {set} WHERE id = '{}'", OrderId::new(id(n)));
        sqlx::query(AssertSqlSafe(sql)).execute(world.database.writer()).await.unwrap();
    }
    let found = breaches().await;
    assert_eq!(
        found[..2].iter().chain(&found[3..]).map(String::as_str).collect::<Vec<_>>(),
        [
            "key_missing: its idempotency key k3 of demo has no record",
            "key_names_other_order: the record of demo names order 00000000-0000-0000-0000-000000000008, which failed with dependency_unavailable and gave its key back",
            "outbox_event_missing: pending at version 1, but version 1 has no event in the outbox",
            "outbox_event_unfounded: the outbox has order_placed for version none, but the order is pending at version 1",
            "outbox_event_unfounded: the outbox has order_shipped for version 1, but the order is pending at version 1",
            "total_not_sum_of_lines: the total is 5550, its 1 lines come to 0 (minor units)",
            "total_not_sum_of_lines: the total is 5550, its 2 lines come to 3 (minor units)",
        ]
    );
    assert_eq!(found[2], found[3], "of orders 4 and 6");
    for wrong in ["lines = ''", "lines = '{}'", "events = 'null'", "events = '['"] {
        let sql = format!("UPDATE orders SET {wrong}");
        sqlx::query(AssertSqlSafe(sql)).execute(world.database.writer()).await.unwrap_err();
    }
}

async fn a_dead_database_is_an_error_in_time(world: World) {
    world.database.close().await;
    let began = std::time::Instant::now();
    assert!(world.store.order(OrderId::new(id(1))).await.unwrap_err().is_transient());
    assert!(world.store.claim(&customer("demo"), &key("k")).await.unwrap_err().is_transient());
    match world.store.start(start(1, "demo"), Arc::new(Nothing)).await {
        Err(BeginError::Store(error)) => assert!(error.is_transient(), "{error:?}"),
        other => panic!("{other:?}"),
    }
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// Every promise, each on a database of its own.
async fn conforms<F: Future<Output = Database>>(fresh: impl Fn() -> F) {
    macro_rules! each {
        ($($promise:ident),* $(,)?) => {
            $(
                let database = fresh().await;
                for schema in build::schemas() {
                    database.migrate(&schema).await.unwrap();
                }
                $promise(World::new(database.clone())).await;
                database.close().await;
            )*
        };
    }
    each!(
        what_is_written_is_read,
        one_key_is_one_order,
        a_race_for_one_key_has_one_winner,
        an_order_whose_saga_cannot_begin_is_not_there,
        every_state_is_kept,
        a_saga_settles_what_it_placed_and_nothing_else,
        rows_that_a_hand_has_spoilt_are_told_of,
        a_key_that_is_given_back_may_be_used_anew,
        pages_are_newest_first_and_filtered,
        the_audit_sees_every_order_once,
        events_say_what_their_orders_say,
        what_is_past_its_time_goes,
        a_dead_database_is_an_error_in_time,
    );
    let database = fresh().await;
    migration::an_old_store_keeps_its_lines_keys_and_events(database.clone()).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    conforms(|| async {
        let file = dir.path().join(format!("{}.db", count.fetch_add(1, std::sync::atomic::Ordering::SeqCst)));
        Database::connect_lazy(&format!("sqlite://{}?mode=rwc", file.display()), &Options::default()).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let Some(server) = Postgres::from_env() else { return };
    conforms(|| async { Database::connect_lazy(&server.database().await, &Options::default()).unwrap() }).await;
    server.clean_up().await;
}

/// Golden files: what readers of the outbox rely on.
#[test]
fn outbox_payloads_are_a_contract() {
    let StartOrder { order, placed, .. } = start(1, "demo");
    let subject = |version| Subject {
        id: order.head.id,
        version,
        customer: "demo".to_owned(),
        total: order.head.total,
        at: at(5),
    };
    let failure = Failure { code: FailureCode::PaymentDeclined, message: "no".into() };
    let by = SagaId::new(id(9));
    let events = [
        (1, placed),
        (2, Event::Confirmed { receipt: receipt(), at: at(5) }),
        (2, Event::Failed { failure, refunded: None, at: at(5) }),
        (3, Event::CancellationBegun { by }),
        (4, Event::Cancelled { by }),
        (3, Event::Shipped),
    ];
    for (version, event) in events {
        let payload = payload_of(&subject(version), &event);
        let file = format!("{}/tests/golden/{}.v1.json", env!("CARGO_MANIFEST_DIR"), event.kind());
        let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}\n{payload:#}"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&golden).unwrap(), payload, "{file}");
    }
}
