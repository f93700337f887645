//! Clocks that are set, by an hour in either direction, while sagas wait: in memory, over a restart, and at the store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use amends_primitives::SagaId;

use super::{
    engine::{Memory, Script, Scripted, Wire, World, settled, until},
    sample::trip,
};
use crate::{Config, Engine, Status, journal::Journal, plan::EffectKind, testkit::TokioClock};

const HOUR: Duration = Duration::from_hours(1);
/// More than the longest lease and a heartbeat.
const TAKEOVER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    None,
    Back,
    Forward,
}

impl Step {
    fn of(self, clock: &TokioClock) {
        match self {
            Self::None => {}
            Self::Back => clock.step_back(HOUR),
            Self::Forward => clock.step_forward(HOUR),
        }
    }
}

/// Each state in which a saga waits to try again, so often that it waits for long.
fn waiting() -> [(&'static str, EffectKind, Script); 3] {
    let refused = || Script::default().then("charge_card", EffectKind::Act, 1, &Scripted::Refuse);
    let undecided = || Script::default().then("issue_ticket", EffectKind::Act, 3, &Scripted::Unknown);
    let wait = |script: Script, step, kind| (step, kind, script.then(step, kind, 11, &Scripted::Unknown));
    [
        wait(refused(), "book_flight", EffectKind::Compensate),
        wait(undecided(), "issue_ticket", EffectKind::Close),
        wait(Script::default(), "send_mail", EffectKind::Act),
    ]
}

async fn waits(world: &World, id: SagaId) -> bool {
    let row = world.journal.row(id).await.unwrap().unwrap();
    row.wake_at.is_some_and(|wake_at| wake_at.since(row.updated_at) > Duration::from_secs(10))
}

/// How a saga ends that waits for half a minute when the clock is set, and after how long.
async fn ended(state: usize, step: Step) -> (Status, Duration) {
    let world = World::new();
    let (_, _, script) = waiting().into_iter().nth(state).unwrap();
    let engine = world.engine(script).await;
    let begun = tokio::time::Instant::now();
    let id = engine.start(world.new_trip()).await.unwrap().id();
    while !waits(&world, id).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    step.of(&world.clock);
    (settled(&engine, id).await, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_clock_changes_no_wait() {
    for (state, (name, kind, _)) in waiting().into_iter().enumerate() {
        let undisturbed = ended(state, Step::None).await;
        assert!(undisturbed.1 > Duration::from_secs(10), "{name} {kind:?} does not wait: {undisturbed:?}");
        for step in [Step::Back, Step::Forward] {
            assert_eq!(ended(state, step).await, undisturbed, "{name} {kind:?}, clock set {step:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_step_waits_no_longer_than_before() {
    for (state, (name, kind, _)) in waiting().into_iter().enumerate() {
        for step in [Step::Back, Step::Forward, Step::None] {
            let world = World::new();
            let (_, _, script) = waiting().into_iter().nth(state).unwrap();
            let engine = world.engine(script).await;
            let id = engine.start(world.new_trip()).await.unwrap().id();
            while !waits(&world, id).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let row = world.journal.row(id).await.unwrap().unwrap();
            let wait = row.wake_at.unwrap().since(row.updated_at);
            engine.kill();
            step.of(&world.clock);
            let next = world.engine(Script::default()).await;
            let begun = tokio::time::Instant::now();
            let status = settled(&next, id).await;
            assert!(status.is_finished(), "{name} {kind:?}: {status}");
            assert!(
                begun.elapsed() <= wait + TAKEOVER,
                "{name} {kind:?}, {step:?}: {:?} for {wait:?}",
                begun.elapsed()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_clock_is_behind_waits_no_longer() {
    let world = World::new();
    let (_, _, script) = waiting().into_iter().nth(2).unwrap();
    let engine = world.engine(script).await;
    let id = engine.start(world.new_trip()).await.unwrap().id();
    while !waits(&world, id).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let behind = Arc::new(world.clock.of_another_machine());
    behind.step_back(HOUR * 24);
    let (other, begun) = (replica(&world, &behind), tokio::time::Instant::now());
    engine.kill();
    until(|| other.active() == 1).await;
    assert_eq!(settled(&other, id).await, Status::Completed);
    assert!(begun.elapsed() < Duration::from_secs(35), "{:?}", begun.elapsed());
}

fn replica(world: &World, clock: &Arc<TokioClock>) -> Engine<Memory> {
    Engine::builder(Arc::new(world.journal.clone()))
        .clock(Arc::<TokioClock>::clone(clock))
        .jitter(|| 0.5)
        .register(trip(&world.books))
        .start()
}

#[tokio::test(start_paused = true)]
async fn a_step_forward_is_no_deadline_passed() {
    let world = World::new();
    let mut definition = trip(&world.books);
    Arc::make_mut(&mut definition.shape).deadline = Some(Duration::from_secs(30));
    let slow = Scripted::Slow(Duration::from_millis(400));
    let script = Script::default().then("charge_card", EffectKind::Act, 1, &slow);
    let engine = world.engine_of(definition, script, Config::default()).await;
    let id = engine.start(world.new_trip()).await.unwrap().id();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.clock.step_forward(HOUR);
    assert_eq!(settled(&engine, id).await, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_step_back_puts_no_deadline_off() {
    let world = World::new();
    let mut definition = trip(&world.books);
    let shape = Arc::make_mut(&mut definition.shape);
    shape.deadline = Some(Duration::from_secs(30));
    shape.steps[2].policy.attempts_max = 1000;
    let script = Script::default().then("charge_card", EffectKind::Act, 1000, &Scripted::Unknown);
    let engine = world.engine_of(definition, script, Config::default()).await;
    let begun = tokio::time::Instant::now();
    let id = engine.start(world.new_trip()).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.clock.step_back(HOUR);
    assert_eq!(settled(&engine, id).await, Status::Unwound);
    assert!(begun.elapsed() < Duration::from_secs(33), "{:?}", begun.elapsed());
}

/// A saga that takes a minute at its card, and its replica, which can be cut off.
async fn at_the_card(world: &World) -> (Arc<Wire>, Engine<Wire>, SagaId) {
    let mut definition = trip(&world.books);
    let shape = Arc::make_mut(&mut definition.shape);
    (shape.deadline, shape.steps[2].policy.timeout) = (None, HOUR);
    let slow = Scripted::Slow(Duration::from_mins(1));
    let wire = Wire::to(world.journal.clone());
    let engine = Engine::builder(Arc::clone(&wire))
        .clock(Arc::<TokioClock>::clone(&world.clock))
        .intercept(Arc::new(Script::default().then("charge_card", EffectKind::Act, 1, &slow)))
        .register(definition)
        .start();
    until(|| engine.is_ready()).await;
    let id = engine.start(world.new_trip()).await.unwrap().id();
    (wire, engine, id)
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_stores_clock_takes_no_living_replicas_sagas() {
    for step in [Step::Back, Step::Forward] {
        let world = World::new();
        let (_wire, engine, id) = at_the_card(&world).await;
        // So that one replica's heartbeats come half-way between the other's.
        tokio::time::sleep(Config::default().heartbeat / 2).await;
        let other = world.engine(Script::default()).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        // At every moment between two heartbeats of either.
        for _ in 0..13 {
            tokio::time::sleep(Duration::from_millis(1300)).await;
            step.of(world.journal.clock());
            assert_eq!(other.active(), 0, "{step:?}");
        }
        assert_eq!(settled(&other, id).await, Status::Completed);
        let row = world.journal.row(id).await.unwrap().unwrap();
        assert_eq!(row.fence, 1, "{step:?}: a living replica's saga was taken over");
        engine.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_stores_clock_keeps_no_saga_of_the_gone() {
    for step in [Step::Back, Step::Forward] {
        let world = World::new();
        let (wire, engine, id) = at_the_card(&world).await;
        let other = world.engine(Script::default()).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        wire.down.store(true, Ordering::SeqCst);
        engine.kill();
        step.of(world.journal.clock());
        let begun = tokio::time::Instant::now();
        assert_eq!(settled(&other, id).await, Status::Completed);
        assert!(begun.elapsed() < TAKEOVER, "{step:?}: {:?}", begun.elapsed());
    }
}
