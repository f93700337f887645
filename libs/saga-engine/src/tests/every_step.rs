//! `Journaling::EveryStep`: what is durable when an attempt is made, and what that costs.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    engine::{Script, Scripted, World, settled, until},
    sample::{Note, trip},
};
use crate::{
    Call, Config, Definition, Engine, Intercept, Journaling, Status,
    event::Event,
    journal::Journal as _,
    plan::{Conclusion, EffectKind},
    testkit::{MemoryJournal, TokioClock},
    tests::sample::Trip,
};

type Memory = MemoryJournal<Note>;

/// Reads the journal at each attempt, before it is made.
struct Witness {
    journal: Memory,
    /// Events that were durable, by step and attempt.
    found: Mutex<HashMap<(String, u32), Vec<String>>>,
}

#[async_trait]
impl Intercept for Witness {
    async fn attempt(
        &self,
        call: &Call,
        perform: &(dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync),
    ) -> Conclusion {
        let stored = self.journal.load(call.key.saga_id()).await.unwrap().unwrap();
        let told = |event: &Event| match event {
            Event::StepStarted { step, attempt } => format!("{step} {attempt} started"),
            Event::StepDone { step, attempt, .. } => format!("{step} {attempt} done"),
            Event::StepUnknown { step, attempt, .. } => format!("{step} {attempt} unknown"),
            other => other.name().to_owned(),
        };
        let events = stored.records.iter().map(|record| told(&record.event)).collect();
        self.found.lock().insert((call.key.step().to_owned(), call.attempt), events);
        perform().await
    }
}

fn every_step(world: &World) -> Definition<Trip> {
    let mut definition = trip(&world.books);
    Arc::make_mut(&mut definition.shape).journaling = Journaling::EveryStep;
    definition
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_durable_before_the_next_attempt() {
    let world = World::new();
    let witness = Arc::new(Witness { journal: world.journal.clone(), found: Mutex::default() });
    let engine = Engine::builder(Arc::new(world.journal.clone()))
        .clock(Arc::<TokioClock>::clone(&world.clock))
        .jitter(|| 0.5)
        .intercept(Arc::<Witness>::clone(&witness))
        .register(every_step(&world))
        .start();
    until(|| engine.is_ready()).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    let found = witness.found.lock();
    let before = |step: &str| found[&(step.to_owned(), 1)].clone();
    assert_eq!(before("book_hotel"), Vec::<String>::new(), "its row alone says that the first step is next");
    let booked = before("charge_card");
    for event in ["book_hotel 1 done", "book_flight 1 done", "charge_card 1 started"] {
        assert!(booked.contains(&event.to_owned()), "{event} was not durable: {booked:?}");
    }
    let all = before("send_mail");
    assert_eq!(all[all.len() - 2..], ["issue_ticket 1 done", "send_mail 1 started"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_durable_while_its_twin_runs() {
    let world = World::new();
    let script = Script::default().then("book_flight", EffectKind::Act, 1, &Scripted::Slow(Duration::from_secs(2)));
    let engine = world.engine_of(every_step(&world), script, Config::default()).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stored = world.journal.load(handle.id()).await.unwrap().unwrap();
    let is_hotel = |event: &Event| matches!(event, Event::StepDone { step, .. } if step == "book_hotel");
    assert!(stored.records.iter().any(|record| is_hotel(&record.event)), "{stored:#?}");
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_step_in_a_row_costs_one_commit() {
    let world = World::new();
    let engine = world.engine_of(every_step(&world), Script::default(), Config::default()).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    // The start; the first of the two that run at once; then each outcome with the attempt that follows it, the last with the end.
    assert_eq!(world.journal.commits(), 1 + 1 + 4);
}
