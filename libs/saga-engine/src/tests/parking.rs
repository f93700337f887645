//! What parks a saga and what does not: an answer that asking again does not change, and whatever the environment does.

use std::time::Duration;

use super::{
    engine::{Script, Scripted, World, settled},
    sample::trip,
};
use crate::{
    Config, Engine, EngineMetrics, Status, Waited, journal::Journal, metrics::SettledLabels, plan::EffectKind,
    testkit::TokioClock,
};
use std::sync::Arc;

/// Ten times what it takes to be parked for what is answered wrongly.
const OUTAGE: Duration = Duration::from_hours(2);

fn refused() -> Script {
    Script::default().then("charge_card", EffectKind::Act, 1, &Scripted::Refuse)
}

fn stuck(what: &Scripted) -> [(&'static str, Script); 3] {
    let undecided = Script::default().then("issue_ticket", EffectKind::Act, 3, &Scripted::Unknown);
    [
        ("compensating", refused().then("book_flight", EffectKind::Compensate, 1000, what)),
        ("closing the pivot", undecided.then("issue_ticket", EffectKind::Close, 1000, what)),
        ("after the pivot", Script::default().then("send_mail", EffectKind::Act, 1000, what)),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_outage_parks_no_saga_however_long_it_is() {
    for (state, script) in stuck(&Scripted::Unknown) {
        let world = World::new();
        let engine = world.engine(script).await;
        let handle = engine.start(world.new_trip()).await.unwrap();
        let waited = handle.settled(OUTAGE).await;
        assert!(matches!(waited, Waited::Running(_)), "{state}: {waited:?}");
        let row = world.journal.row(handle.id()).await.unwrap().unwrap();
        assert!(row.status.is_active() && row.wake_at.is_some(), "{state}: it is to be seen that it waits: {row:?}");
        engine.kill();
        // The outage ends.
        let next = world.engine(Script::default()).await;
        assert!(settled(&next, handle.id()).await.is_finished(), "{state}");
        assert_eq!(world.books.mistakes(), Vec::<String>::new(), "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_asking_again_does_not_change_parks_the_saga() {
    for (state, script) in stuck(&Scripted::Broken) {
        let world = World::new();
        let engine = world.engine(script).await;
        let handle = engine.start(world.new_trip()).await.unwrap();
        assert_eq!(settled(&engine, handle.id()).await, Status::Parked, "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_on_the_way_does_not_reset_the_budget() {
    let world = World::new();
    let script = (0..40).fold(refused(), |script, _| {
        script.then("book_flight", EffectKind::Compensate, 1, &Scripted::Broken).then(
            "book_flight",
            EffectKind::Compensate,
            2,
            &Scripted::Unknown,
        )
    });
    let engine = world.engine(script).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Parked);
}

/// The budget is part of what is journaled: a replica that takes over goes on counting.
#[tokio::test(start_paused = true)]
async fn a_takeover_does_not_reset_the_budget() {
    let world = World::new();
    let broken = |times| Script::default().then("book_flight", EffectKind::Compensate, times, &Scripted::Broken);
    let first = refused().then("book_flight", EffectKind::Compensate, 100, &Scripted::Broken);
    let engine = world.engine(first).await;
    let id = engine.start(world.new_trip()).await.unwrap().id();
    // More than half of the eight minutes.
    tokio::time::sleep(Duration::from_mins(5)).await;
    engine.kill();
    let next = world.engine(broken(30)).await;
    assert_eq!(settled(&next, id).await, Status::Parked);
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_waits_long_shows_in_the_metrics() {
    let (world, metrics) = (World::new(), EngineMetrics::default());
    let script = refused().then("book_flight", EffectKind::Compensate, 1000, &Scripted::Unknown);
    let engine = Engine::builder(Arc::new(world.journal.clone()))
        .clock(Arc::<TokioClock>::clone(&world.clock))
        .intercept(Arc::new(script))
        .metrics(metrics.clone())
        .config(Config::default())
        .register(trip(&world.books))
        .start();
    super::engine::until(|| engine.is_ready()).await;
    engine.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    let oldest = |status| metrics.oldest_seconds.get_or_create(&SettledLabels { saga: "trip", status }).get();
    assert!((3500..=3600).contains(&oldest("unwinding")), "{}", oldest("unwinding"));
    assert_eq!(oldest("running"), 0);
}
