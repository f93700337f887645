//! What is old is deleted: finished sagas by the engine, step keys by their participant.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use amends_primitives::{IdSource, SagaId, SeededIds, StepKey, Timestamp};
use amends_sql::{Database, Dialect, Schema};
use serde_json::json;
use sqlx::Row;

use super::{
    databases::on_each,
    engine::Wire,
    sample::{Notes, Trip, TripState, trip},
};
use crate::{
    Config, Engine, EngineMetrics, NewSaga, SCHEMA, TraceContext,
    journal::sql,
    participant::{self, Barrier, BeginAction, BeginCompensation},
    testkit::{Books, TokioClock},
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// An engine that keeps finished sagas for an hour.
fn forgetful(wire: &Arc<Wire>, metrics: &EngineMetrics) -> Engine<Wire> {
    Engine::builder(Arc::clone(wire))
        .clock(Arc::new(TokioClock::default()))
        .metrics(metrics.clone())
        .config(Config { retention: Some(HOUR), ..Config::default() })
        .register(trip(&Books::default()))
        .start()
}

#[tokio::test(start_paused = true)]
async fn an_engine_deletes_batch_by_batch_what_finished_long_ago() {
    const SAGAS: usize = 450;
    let (wire, metrics, ids) = (Wire::to(Notes::default().journal()), EngineMetrics::default(), SeededIds::new(3));
    let engine = forgetful(&wire, &metrics);
    while !engine.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..SAGAS {
        let id = SagaId::new(ids.next_id());
        let state = TripState { id: Some(id), ..TripState::default() };
        let new = NewSaga::<Trip> { id, state, subject: String::new(), trace: TraceContext::none() };
        engine.start(new).await.unwrap();
    }
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!((wire.inner.all().len(), metrics.purged.get()), (SAGAS, 0));
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!((wire.inner.all().len(), metrics.purged.get()), (0, SAGAS as u64));
}

#[tokio::test(start_paused = true)]
async fn however_much_there_is_to_delete_no_heartbeat_is_late() {
    let (wire, metrics) = (Wire::to(Notes::default().journal()), EngineMetrics::default());
    wire.hoard.store(true, Ordering::SeqCst);
    let _engine = forgetful(&wire, &metrics);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(metrics.purged.get() > 100_000, "{}", metrics.purged.get());
    assert_eq!(metrics.leases_lost.get(), 0);
    // One heartbeat every 1.2 s.
    let calls = wire.calls.load(Ordering::SeqCst);
    assert!(calls >= 240, "{calls} calls in 300 s");
}

/// How the database would go about it, were the table large.
async fn plan(database: &Database, query: &str) -> String {
    let query = query.replace("$1", "1700000000000000").replace("$2", "200");
    let (explain, column) = match database.dialect() {
        Dialect::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Dialect::Postgres => ("EXPLAIN", "QUERY PLAN"),
    };
    let mut tx = database.begin().await.unwrap();
    if database.dialect() == Dialect::Postgres {
        // A small table is cheaper to scan, and so is a small index to read at once.
        for costly in ["enable_seqscan", "enable_bitmapscan"] {
            let set = sqlx::AssertSqlSafe(format!("SET LOCAL {costly} = off"));
            sqlx::query(set).execute(&mut *tx).await.unwrap();
        }
    }
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{explain} {query}"))).fetch_all(&mut *tx).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(column)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_is_old_is_found_by_an_index_in_its_order() {
    on_each(async |database| {
        for schema in [&SCHEMA, &participant::SCHEMA] {
            database.migrate(schema).await.unwrap();
        }
        let dialect = database.dialect();
        for (query, index) in
            [(sql::oldest(dialect), "sagas_finished"), (participant::oldest(dialect), "saga_barrier_updated")]
        {
            let plan = plan(&database, &query).await;
            assert!(plan.contains(index), "{query}: {plan}");
            for costly in ["Seq Scan", "SCAN", "Sort", "TEMP B-TREE"] {
                assert!(!plan.contains(costly), "{query}: {plan}");
            }
        }
    })
    .await;
}

fn key(step: &str) -> StepKey {
    StepKey::parse("0198c0de-0000-7000-8000-000000000003", step).unwrap()
}

/// A participant: acts, undoes, forgets, in a transaction each.
struct Shop {
    database: Database,
    barrier: Barrier,
}

impl Shop {
    async fn new(database: Database) -> Self {
        // Tables of the first release, brought up to date.
        let first = Schema { migrations: &participant::SCHEMA.migrations[..1], ..participant::SCHEMA };
        for schema in [&first, &participant::SCHEMA] {
            database.migrate(schema).await.unwrap();
        }
        Self { barrier: Barrier::new(database.dialect()), database }
    }

    async fn act(&self, step: &str, now: Timestamp) -> BeginAction {
        let mut tx = self.database.begin().await.unwrap();
        let begun = self.barrier.begin_action(&mut tx, &key(step), "f", now).await.unwrap();
        if begun == BeginAction::First {
            self.barrier.finish(&mut tx, &key(step), &json!(step), now).await.unwrap();
        }
        tx.commit().await.unwrap();
        begun
    }

    async fn undo(&self, step: &str, now: Timestamp) -> BeginCompensation {
        let mut tx = self.database.begin().await.unwrap();
        let begun = self.barrier.begin_compensation(&mut tx, &key(step), now).await.unwrap();
        tx.commit().await.unwrap();
        begun
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> u64 {
        let mut tx = self.database.begin().await.unwrap();
        let purged = self.barrier.purge(&mut tx, before, limit).await.unwrap();
        tx.commit().await.unwrap();
        purged
    }
}

#[tokio::test]
async fn a_barrier_forgets_the_oldest_keys_first_and_only_old_ones() {
    on_each(async |database| {
        let shop = Shop::new(database).await;
        let begin = Timestamp::from_millis(1_700_000_000_000);
        let day = |number: u32| begin + DAY * number;
        // Not in the order of their keys.
        for (number, step) in (0..).zip(["e", "d", "c", "b"]) {
            assert_eq!(shop.act(step, day(number)).await, BeginAction::First);
        }
        // Compensated late: from then on its tombstone counts. A repeat changes nothing.
        assert_eq!(shop.undo("e", day(5)).await, BeginCompensation::WasDone(json!("e")));
        assert_eq!(shop.act("d", day(5)).await, BeginAction::Repeat(json!("d")));

        assert_eq!(shop.purge(day(3), 1).await, 1);
        assert_eq!(shop.act("c", day(5)).await, BeginAction::Repeat(json!("c")), "only the oldest may go");
        assert_eq!(shop.purge(day(3), 10).await, 1);
        assert_eq!(shop.purge(day(3), 10).await, 0);

        assert_eq!(shop.act("b", day(5)).await, BeginAction::Repeat(json!("b")));
        assert_eq!(shop.act("e", day(5)).await, BeginAction::Compensated);
        // What forgetting means: why the age has to exceed whatever may still arrive.
        assert_eq!(shop.act("d", day(5)).await, BeginAction::First);
        assert_eq!(shop.undo("c", day(5)).await, BeginCompensation::NeverSeen);
    })
    .await;
}

#[tokio::test]
async fn replicas_that_forget_at_the_same_time_pass_over_each_other() {
    on_each(async |database| {
        // SQLite has one writer, and so no locked row to skip.
        if database.dialect() == Dialect::Sqlite {
            return;
        }
        let shop = Shop::new(database).await;
        let begin = Timestamp::from_millis(1_700_000_000_000);
        for step in ["a", "b", "c", "d"] {
            assert_eq!(shop.act(step, begin).await, BeginAction::First);
        }
        let (mut one, mut other) = (shop.database.begin().await.unwrap(), shop.database.begin().await.unwrap());
        for tx in [&mut one, &mut other] {
            assert_eq!(shop.barrier.purge(tx, begin + DAY, 2).await.unwrap(), 2);
        }
        one.commit().await.unwrap();
        other.commit().await.unwrap();
        assert_eq!(shop.purge(begin + DAY, 10).await, 0);
    })
    .await;
}
