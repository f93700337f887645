//! The engine on a disk that is full or read-only for a while: nothing is parked, and nobody restarts anything.

use std::{sync::Arc, time::Duration};

use amends_sql::{Database, SqlError};

use super::{
    databases::Sqlite,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_turns_read_only_parks_no_saga() {
    let sqlite = Sqlite::new();
    let mut world = World::new(sqlite.database.clone()).await;
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
    world.database.mend();
    handles.push(place(&engine, new_trip()).await.unwrap());
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
    let sqlite = Sqlite::new();
    let world = World::new(sqlite.database.clone()).await;
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
        world.database.mend();
        let handle = place(&engine, new_trip()).await.unwrap();
        assert!(matches!(handle.settled(Duration::from_secs(30)).await, Waited::Settled(_)));
    }
    let settled = async {
        while engine.stats().await.unwrap().counts != [] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.expect("all settle by themselves");
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}

async fn write_much(database: &Database) -> Result<(), SqlError> {
    let sql = "INSERT INTO trips (id, status) VALUES ('filler', hex(zeroblob(65536)))";
    sqlx::query(sql).execute(database.writer()).await?;
    Ok(())
}
