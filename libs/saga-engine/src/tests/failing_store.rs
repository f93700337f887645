//! The engine on a disk that is full or read-only for a while: nothing is parked, and no restart is needed.

use std::{sync::Arc, time::Duration};

use amends_sql::{Database, Options, SqlError};
use amends_testing::TestDatabase;

use super::{
    databases,
    sample::{ALL, trip},
    sql::{Failed, Trip5, Trips, World, new_trip, place},
};
use crate::{Config, Engine, EngineMetrics, SqlJournal, Status, Waited, testkit::Books};

/// An engine that is as impatient as its tests.
async fn engine(world: &World, metrics: &EngineMetrics) -> Trip5 {
    let config = Config {
        journal_retry_first: Duration::from_millis(1),
        journal_retry_cap: Duration::from_millis(5),
        ..Config::default()
    };
    let journal = Arc::new(SqlJournal::new(world.database.clone(), Trips));
    let builder = Engine::builder(journal).register(trip(&world.books)).config(config).metrics(metrics.clone());
    let engine = builder.start();
    while !engine.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine
}

fn is_unavailable(error: &Failed) -> bool {
    match error {
        Failed::Sql(error) => error.is_unavailable(),
        Failed::Start(error) => error.is_transient(),
    }
}

/// A start that is queued while the last failing transaction is still at work fails with it, at most once.
async fn place_once_mended(engine: &Trip5) -> crate::Handle {
    match place(engine, new_trip()).await {
        Ok(handle) => handle,
        Err(error) => {
            assert!(is_unavailable(&error), "{error:?}");
            place(engine, new_trip()).await.unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_turns_read_only_parks_no_saga() {
    let sqlite = TestDatabase::sqlite();
    let mut world = World::new(sqlite.open()).await;
    world.books = Books::with_delay(Duration::from_millis(40));
    let metrics = EngineMetrics::default();
    let engine = engine(&world, &metrics).await;
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(place(&engine, new_trip()).await.unwrap());
    }
    world.database.turn_read_only();
    // A local change that failed eight times for another reason than its store would be taken for refused.
    while metrics.journal_errors.get() < 6 * 20 {
        let error = place(&engine, new_trip()).await.unwrap_err();
        assert!(is_unavailable(&error), "{error:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.database.repair();
    handles.push(place_once_mended(&engine).await);
    for handle in handles {
        let waited = handle.settled(Duration::from_secs(30)).await;
        assert!(matches!(&waited, Waited::Settled(snapshot) if snapshot.status == Status::Completed), "{waited:?}");
        assert_eq!(world.status(handle.id()).await, "confirmed");
        assert_eq!(world.books.in_effect(handle.id()), ALL);
    }
    assert_eq!(engine.stats().await.unwrap().counts, []);
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_on_a_full_disk_are_told_so_and_then_succeed() {
    let sqlite = TestDatabase::sqlite();
    let world = World::new(sqlite.open()).await;
    let engine = engine(&world, &EngineMetrics::default()).await;
    for _round in 0..3 {
        world.database.fill_up();
        // Alone and in company: a batch whose first statements fail is written again, one by one.
        let mut refused = 0;
        for _ in 0..1000 {
            let placed = futures::future::join_all((0..8).map(|_| place(&engine, new_trip()))).await;
            for error in placed.into_iter().filter_map(Result::err) {
                assert!(is_unavailable(&error), "{error:?}");
                refused += 1;
            }
            if refused > 0 {
                break;
            }
        }
        assert!(refused > 0, "the disk never filled up");
        assert!(matches!(write_much(&world.database).await, Err(SqlError::Unavailable(_))));
        world.database.repair();
        let handle = place_once_mended(&engine).await;
        assert!(matches!(handle.settled(Duration::from_secs(30)).await, Waited::Settled(_)));
    }
    let settled = async {
        while !engine.stats().await.unwrap().counts.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), settled).await.expect("all settle by themselves");
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}

async fn write_much(database: &Database) -> Result<(), SqlError> {
    let sql = "INSERT INTO trips (id, status) VALUES ('filler', hex(zeroblob(65536)))";
    sqlx::query(sql).execute(database.writer()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_does_not_affect_other_callers() {
    databases::on_each(async |database| {
        let sql = "CREATE TABLE parts (id BIGINT PRIMARY KEY, whole BIGINT REFERENCES parts (id) DEFERRABLE INITIALLY DEFERRED)";
        sqlx::raw_sql(sql).execute(database.writer()).await.unwrap();
        let put = async |whole: Option<i64>, id: i64| {
            let mut tx = database.begin().await?;
            let query = sqlx::query("INSERT INTO parts (id, whole) VALUES ($1, $2)").bind(id).bind(whole);
            query.execute(&mut *tx).await?;
            Ok::<_, SqlError>(tx.commit().await?)
        };
        for id in 0..40 {
            // More often than there are connections.
            put(Some(404), id).await.unwrap_err();
            put(None, id).await.unwrap();
            // Left in the middle, as by a caller that hangs up; what it locked is free for the next.
            let mut left = database.begin().await.unwrap();
            sqlx::query("UPDATE parts SET whole = id").execute(&mut *left).await.unwrap();
            drop(left);
        }
        let counted: (i64, i64) =
            sqlx::query_as("SELECT COUNT(*), COUNT(whole) FROM parts").fetch_one(database.reader()).await.unwrap();
        assert_eq!(counted, (40, 0));
        database.ready().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_not_ready() {
    let Some(own) = TestDatabase::postgres().await else { return };
    let options = Options { write_shows: Duration::ZERO, ..Options::default() };
    let database = own.open_with(&options);
    database.ready().await.unwrap();
    let (name,): (String,) =
        sqlx::query_as("SELECT CAST(current_database() AS TEXT)").fetch_one(database.reader()).await.unwrap();
    let set = |value: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    sqlx::query(sqlx::AssertSqlSafe(set("on"))).execute(database.writer()).await.unwrap();
    let again = own.open_with(&options);
    let error = again.ready().await.unwrap_err();
    assert!(amends_sql::in_words(&error).contains("accepts no writes"), "{error:?}");
    let refused = sqlx::query("CREATE TABLE t (id BIGINT)").execute(again.writer()).await.unwrap_err();
    assert!(matches!(SqlError::from(refused), SqlError::Unavailable(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_together_fail_one_caller() {
    let Some(own) = TestDatabase::postgres().await else { return };
    let (database, killer) = (own.open(), own.open());
    let all: Vec<_> = futures::future::join_all((0..4).map(|_| database.writer().acquire())).await;
    for one in all {
        one.unwrap();
    }
    let kill = "SELECT COUNT(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let (killed,): (i64,) = sqlx::query_as(kill).fetch_one(killer.reader()).await.unwrap();
    assert!(killed >= 4, "{killed}");
    let mut failed = 0;
    for _ in 0..8 {
        failed += u32::from(sqlx::query("SELECT 1").execute(database.reader()).await.is_err());
    }
    // The connection that is met first was used a moment ago; after it each is tested.
    assert!(failed <= 1, "{failed} callers met a dead connection");
    drop((database, killer));
    own.remove().await;
}

/// The commit of such a statement comes after its rows, on both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_write_that_is_not_committed_is_no_success() {
    databases::on_each(async |database| {
        let sql = "CREATE TABLE parts (id BIGINT PRIMARY KEY, whole BIGINT REFERENCES parts (id) DEFERRABLE INITIALLY DEFERRED)";
        sqlx::raw_sql(sql).execute(database.writer()).await.unwrap();
        let sql = "INSERT INTO parts (id, whole) VALUES (1, 404) RETURNING id";
        let one = sqlx::query_as::<_, (i64,)>(sql).fetch_one(database.writer()).await;
        assert!(one.is_err(), "{one:?}");
        let perhaps = sqlx::query_as::<_, (i64,)>(sql).fetch_optional(database.writer()).await;
        assert!(perhaps.is_err(), "{perhaps:?}");
        let (parts,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM parts").fetch_one(database.writer()).await.unwrap();
        assert_eq!(parts, 0);
    })
    .await;
}
