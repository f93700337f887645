//! The engine as its host sees it, in virtual time.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use amends_primitives::{IdSource, SagaId, SeededIds};
use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::sample::{ALL, Notes, Trip, TripState, trip};
use crate::{
    Call, Cause, Config, Definition, Engine, EngineMetrics, Intercept, NewSaga, Outcome, Refusal, StartError, Status,
    TraceContext, Undo, Waited,
    journal::{Filter, Journal, Operator, Requested, Resolution},
    plan::{Conclusion, EffectKind},
    testkit::{Books, MemoryJournal, TokioClock},
    timeline::Phase,
};

pub(super) type Memory = MemoryJournal<super::sample::Note>;

/// Ends the calls that a test wants to end otherwise.
#[derive(Default)]
pub(super) struct Script(Mutex<VecDeque<(&'static str, EffectKind, Scripted)>>);

#[derive(Clone)]
pub(super) enum Scripted {
    Refuse,
    /// No answer, because of the environment.
    Unknown,
    /// An answer that asking again does not change.
    Broken,
    /// The participant hangs this long before it is asked.
    Slow(Duration),
}

impl Script {
    pub(super) fn then(self, step: &'static str, kind: EffectKind, times: usize, what: &Scripted) -> Self {
        self.0.lock().extend(std::iter::repeat_n((step, kind, what.clone()), times));
        self
    }
}

#[async_trait]
impl Intercept for Script {
    async fn attempt(
        &self,
        call: &Call,
        perform: &(dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync),
    ) -> Conclusion {
        let scripted = {
            let mut script = self.0.lock();
            let at = script.iter().position(|(step, kind, _)| *step == call.key.step() && *kind == call.kind);
            at.and_then(|at| script.remove(at)).map(|(_, _, what)| what)
        };
        let cause = match scripted {
            Some(Scripted::Broken) => Cause::permanent("broken", "the participant has a mistake"),
            _ => Cause::environment("down", "the participant is down"),
        };
        match scripted {
            None => perform().await,
            Some(Scripted::Refuse) => Conclusion::Acted(Outcome::Refused(Refusal::new("declined", "no"))),
            Some(Scripted::Unknown | Scripted::Broken) => match call.kind {
                EffectKind::Act => Conclusion::Acted(Outcome::Unknown(cause)),
                EffectKind::Compensate => Conclusion::Compensated(Undo::NotYet(cause)),
                EffectKind::Close => Conclusion::Closed(crate::Closed::NotYet(cause)),
            },
            Some(Scripted::Slow(time)) => {
                tokio::time::sleep(time).await;
                perform().await
            }
        }
    }
}

pub(super) struct World {
    pub(super) books: Books,
    pub(super) notes: Notes,
    pub(super) journal: Memory,
    pub(super) clock: Arc<TokioClock>,
    ids: Arc<SeededIds>,
}

impl World {
    pub(super) fn new() -> Self {
        let notes = Notes::default();
        Self {
            books: Books::with_delay(Duration::from_millis(10)),
            journal: notes.journal(),
            notes,
            clock: Arc::new(TokioClock::default()),
            ids: Arc::new(SeededIds::new(1)),
        }
    }

    pub(super) async fn engine(&self, script: Script) -> Engine<Memory> {
        self.engine_of(trip(&self.books), script, Config::default()).await
    }

    pub(super) async fn engine_of(
        &self,
        definition: Definition<Trip>,
        script: Script,
        config: Config,
    ) -> Engine<Memory> {
        let engine = Engine::builder(Arc::new(self.journal.clone()))
            .clock(Arc::<TokioClock>::clone(&self.clock))
            .ids(Arc::<SeededIds>::clone(&self.ids))
            .jitter(|| 0.5)
            .intercept(Arc::new(script))
            .config(config)
            .register(definition)
            .start();
        until(|| engine.is_ready()).await;
        engine
    }

    pub(super) fn new_trip(&self) -> NewSaga<Trip> {
        let id = SagaId::new(self.ids.next_id());
        let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        NewSaga { id, state: TripState { id: Some(id), ..TripState::default() }, subject: "a trip".into(), trace }
    }
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("did not happen");
}

fn ann() -> Operator {
    Operator { who: "ann".into(), why: "a test".into() }
}

const LONG: Duration = Duration::from_hours(1);

pub(super) async fn settled(engine: &Engine<Memory>, id: SagaId) -> Status {
    match engine.handle(id).settled(LONG).await {
        Waited::Settled(snapshot) => snapshot.status,
        Waited::Running(snapshot) => panic!("still running: {snapshot:?}"),
    }
}

async fn timeline(engine: &Engine<Memory>, id: SagaId) -> Vec<String> {
    let timeline = engine.timeline(id).await.unwrap().unwrap();
    timeline
        .entries
        .iter()
        .map(|entry| {
            let code = entry.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            let (phase, outcome) = (entry.phase.as_str(), entry.outcome.as_str());
            format!("{} {phase} {outcome} x{}{code}", entry.step, entry.attempts)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_happy_saga_costs_two_commits() {
    let world = World::new();
    let engine = world.engine(Script::default()).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    let Waited::Settled(snapshot) = handle.settled(LONG).await else { panic!("{handle:?}") };
    assert_eq!((snapshot.status, snapshot.failure, snapshot.parked), (Status::Completed, None, None));
    assert_eq!(world.journal.commits(), 2);
    assert_eq!(world.books.in_effect(handle.id()), ALL);
    assert_eq!(world.notes.of(handle.id()), ["confirmed"]);
    assert_eq!(
        timeline(&engine, handle.id()).await,
        [
            "book_hotel action done x1",
            "book_flight action done x1",
            "charge_card action done x1",
            "issue_ticket action done x1",
            "send_mail action done x1",
            "confirm action done x1",
        ]
    );
    assert_eq!(engine.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn parallel_steps_take_as_long_as_one() {
    let world = World::new();
    let engine = world.engine(Script::default()).await;
    let begun = tokio::time::Instant::now();
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    // Hotel and flight together, card, ticket, mail: 10 ms each.
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_unwinds_what_was_done_and_nothing_else() {
    let world = World::new();
    let engine = world.engine(Script::default().then("charge_card", EffectKind::Act, 1, &Scripted::Refuse)).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    let Waited::Settled(decided) = handle.decided(LONG).await else { panic!("{handle:?}") };
    assert_eq!((decided.status, decided.failure.unwrap().code.as_str()), (Status::Unwinding, "declined"));
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    // Start, the decision, the end.
    assert_eq!(world.journal.commits(), 3);
    assert_eq!(world.books.in_effect(handle.id()), Vec::<&str>::new());
    assert_eq!(world.notes.of(handle.id()), ["failed"]);
    assert_eq!(
        timeline(&engine, handle.id()).await,
        [
            "book_hotel action done x1",
            "book_flight action done x1",
            "charge_card action refused x1 (declined)",
            "book_hotel compensation undone x1",
            "book_flight compensation undone x1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_retried_under_its_key_then_compensated() {
    let world = World::new();
    let script = Script::default().then("charge_card", EffectKind::Act, 2, &Scripted::Unknown);
    let engine = world.engine(script).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    assert!(timeline(&engine, handle.id()).await.contains(&"charge_card action done x3 (down)".to_owned()));
    engine.kill();

    let script = Script::default().then("charge_card", EffectKind::Act, 3, &Scripted::Unknown);
    let engine = world.engine(script).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    // 50 and 100 ms between the attempts, and 10 ms for each call that arrives.
    assert_eq!(begun.elapsed().as_millis(), 10 + 50 + 100 + 10 + 10);
    let timeline = timeline(&engine, handle.id()).await;
    assert!(timeline.contains(&"charge_card compensation undone x1".to_owned()), "{timeline:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_step_is_unknown_after_its_timeout() {
    let world = World::new();
    let slow = Scripted::Slow(Duration::from_mins(1));
    let engine = world.engine(Script::default().then("book_hotel", EffectKind::Act, 3, &slow)).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    let timeline = timeline(&engine, handle.id()).await;
    assert!(timeline.contains(&"book_hotel action unknown x3 (timeout)".to_owned()), "{timeline:?}");
}

#[tokio::test(start_paused = true)]
async fn the_pivot_is_closed_before_anything_is_compensated() {
    let world = World::new();
    let engine = world.engine(Script::default().then("issue_ticket", EffectKind::Act, 3, &Scripted::Unknown)).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    let timeline = timeline(&engine, handle.id()).await;
    let at = |entry: &str| timeline.iter().position(|found| found.starts_with(entry)).unwrap();
    assert!(at("issue_ticket close closed") < at("charge_card compensation undone"), "{timeline:?}");
    assert!(at("charge_card compensation undone") < at("book_flight compensation undone"), "{timeline:?}");
}

#[tokio::test(start_paused = true)]
async fn cancellation_is_honoured_before_the_pivot_and_refused_after() {
    let world = World::new();
    let slow = Scripted::Slow(Duration::from_millis(300));
    let engine = world.engine(Script::default().then("charge_card", EffectKind::Act, 1, &slow)).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.cancel(handle.id(), ann()).await.unwrap(), Requested::Accepted);
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    let failure = engine.snapshot(handle.id()).await.unwrap().unwrap().failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("cancelled", "cancelled by ann: a test"));
    assert_eq!(world.books.in_effect(handle.id()), Vec::<&str>::new());
    engine.kill();

    let engine = world.engine(Script::default().then("send_mail", EffectKind::Act, 1, &slow)).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.cancel(handle.id(), ann()).await.unwrap(), Requested::Accepted);
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    let records = engine.timeline(handle.id()).await.unwrap().unwrap().records;
    assert!(records.iter().any(|record| record.event.name() == "request_refused"), "{records:?}");
    assert_eq!(engine.cancel(handle.id(), ann()).await.unwrap(), Requested::NotInStatus(Status::Completed));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_is_parked_until_a_human_helps() {
    let world = World::new();
    let script = Script::default().then("charge_card", EffectKind::Act, 1, &Scripted::Refuse).then(
        "book_flight",
        EffectKind::Compensate,
        80,
        &Scripted::Broken,
    );
    let engine = world.engine(script).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert_eq!(settled(&engine, handle.id()).await, Status::Parked);
    assert_eq!(world.notes.of(handle.id()), ["parked"]);
    let listed = engine.list(&Filter { status: Some(Status::Parked), ..Filter::default() }).await.unwrap();
    assert_eq!(listed.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [handle.id()]);
    assert_eq!(listed.rows[0].step.as_deref(), Some("book_flight"));
    assert_eq!(listed.rows[0].parked.as_ref().unwrap().code, "broken");

    // Retried, and as bad as before.
    assert_eq!(engine.retry(handle.id(), ann()).await.unwrap(), Requested::Accepted);
    let status = async || engine.snapshot(handle.id()).await.unwrap().unwrap().status;
    while status().await == Status::Parked {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(settled(&engine, handle.id()).await, Status::Parked);

    // A step that is not stuck cannot be resolved; the one that is can.
    let resolve = async |step| engine.resolve(handle.id(), ann(), step, Resolution::Undone).await.unwrap();
    assert_eq!(resolve("charge_card").await, Requested::Accepted);
    while engine.journal().row(handle.id()).await.unwrap().unwrap().request.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status().await, Status::Parked);
    assert_eq!(resolve("book_flight").await, Requested::Accepted);
    while status().await == Status::Parked {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(settled(&engine, handle.id()).await, Status::Unwound);
    let stored = engine.timeline(handle.id()).await.unwrap().unwrap();
    let names: Vec<_> = stored.records.iter().map(|record| record.event.name()).collect();
    assert!(
        names.contains(&"retried") && names.contains(&"resolved") && names.contains(&"request_refused"),
        "{names:?}"
    );
    assert_eq!(stored.entries.iter().filter(|entry| entry.phase == Phase::Compensation).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_killed_replicas_sagas_are_taken_over_and_callers_told() {
    let world = World::new();
    let slow = Scripted::Slow(Duration::from_millis(400));
    let one = world.engine(Script::default().then("charge_card", EffectKind::Act, 1, &slow)).await;
    let other = world.engine(Script::default()).await;
    let handle = one.start(world.new_trip()).await.unwrap();
    let waits_elsewhere = other.handle(handle.id());
    tokio::time::sleep(Duration::from_millis(100)).await;
    one.kill();
    let begun = tokio::time::Instant::now();
    until(|| other.active() == 1).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let Waited::Settled(snapshot) = waits_elsewhere.settled(LONG).await else { panic!("not told") };
    assert_eq!(snapshot.status, Status::Completed);
    assert_eq!((world.books.in_effect(handle.id()), world.books.mistakes()), (ALL.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(world.journal.row(handle.id()).await.unwrap().unwrap().fence, 2);
}

#[tokio::test(start_paused = true)]
async fn draining_lets_sagas_settle_and_hands_the_rest_over_at_once() {
    let world = World::new();
    let hour = Scripted::Slow(LONG);
    let mut patient = trip(&world.books);
    Arc::make_mut(&mut patient.shape).steps[2].policy.timeout = LONG;
    let script = Script::default().then("charge_card", EffectKind::Act, 1, &hour);
    let one = world.engine_of(patient, script, Config::default()).await;
    let other = world.engine(Script::default()).await;
    let stuck = one.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let quick = one.start(world.new_trip()).await.unwrap();
    let drained = one.drain(Duration::from_secs(1)).await;
    assert_eq!((drained.settled, drained.handed_over), (1, 1));
    assert!(matches!(one.start(world.new_trip()).await, Err(StartError::Draining)));
    assert_eq!(world.journal.row(quick.id()).await.unwrap().unwrap().status, Status::Completed);
    let begun = tokio::time::Instant::now();
    assert_eq!(settled(&other, stuck.id()).await, Status::Completed);
    // At the other's next heartbeat, without waiting for a lease to end.
    assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn sagas_of_unknown_versions_are_left_alone() {
    let world = World::new();
    let metrics = EngineMetrics::default();
    let row = crate::journal::NewRow {
        id: SagaId::new(world.ids.next_id()),
        definition: crate::journal::DefinitionId { name: "trip".into(), version: 99 },
        subject: String::new(),
        input: "{}".into(),
        trace: TraceContext::none(),
        owner: crate::journal::ReplicaId::new("gone"),
        at: amends_primitives::Clock::now(&*world.clock),
    };
    world.journal.start(&row).await.unwrap();
    let _engine = Engine::builder(Arc::new(world.journal.clone()))
        .clock(Arc::<TokioClock>::clone(&world.clock))
        .metrics(metrics.clone())
        .register(trip(&world.books))
        .start();
    until(|| metrics.unknown_definitions.get() == 1).await;
    assert_eq!(world.journal.row(row.id).await.unwrap().unwrap().fence, 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_committed_but_never_launched_is_found() {
    let world = World::new();
    let engine = world.engine(Script::default()).await;
    let (committed, rolled_back) = (world.new_trip(), world.new_trip());
    let (committed_id, rolled_back_id) = (committed.id, rolled_back.id);
    let mut tx = world.journal.begin();
    let started = engine.start_in_tx(&mut tx, committed).await.unwrap();
    tx.commit().unwrap();
    // The caller's task was cancelled here.
    drop(started);
    let mut tx = world.journal.begin();
    let started = engine.start_in_tx(&mut tx, rolled_back).await.unwrap();
    drop((tx, started));
    assert_eq!(settled(&engine, committed_id).await, Status::Completed);
    assert_eq!(engine.snapshot(rolled_back_id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn there_is_a_bound_on_sagas_in_memory() {
    let world = World::new();
    let config = Config { sagas_max: 1, ..Config::default() };
    let engine = world.engine_of(trip(&world.books), Script::default(), config).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    assert!(matches!(engine.start(world.new_trip()).await, Err(StartError::Overloaded)));
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
    until(|| engine.active() == 0).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(engine.start(world.new_trip()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_waits_long_says_so_in_its_row() {
    let world = World::new();
    let script = Script::default().then("send_mail", EffectKind::Act, 12, &Scripted::Unknown);
    let engine = world.engine(script).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let row = world.journal.row(handle.id()).await.unwrap().unwrap();
    assert_eq!((row.status, row.step.as_deref()), (Status::Running, Some("send_mail")));
    assert!(row.wake_at.is_some() && row.seq > 0, "{row:?}");
    assert_eq!(settled(&engine, handle.id()).await, Status::Completed);
}

/// Counts calls, and fails when told to.
pub(super) struct Wire {
    pub(super) inner: Memory,
    pub(super) calls: AtomicU64,
    pub(super) down: AtomicBool,
    /// The next claim is made, and its answer lost.
    pub(super) lose_claim: AtomicBool,
    /// There is no end of old sagas to delete.
    pub(super) hoard: AtomicBool,
}

impl Wire {
    pub(super) fn to(inner: Memory) -> Arc<Self> {
        let calm = || AtomicBool::new(false);
        Arc::new(Self { inner, calls: AtomicU64::new(0), down: calm(), lose_claim: calm(), hoard: calm() })
    }
}

macro_rules! forward {
    ($self:ident, $call:expr) => {{
        $self.calls.fetch_add(1, Ordering::SeqCst);
        if $self.down.load(Ordering::SeqCst) {
            return Err(JournalError::Unavailable("cut".into()));
        }
        $call.await
    }};
}

use crate::journal::{
    Append, Appended, Claimed, DefinitionId, Heartbeat, JournalError, NewRow, OperatorRequest, Page, ReplicaId,
    SagaRow, Stats, Stored,
};

#[async_trait]
impl Journal for Wire {
    type Local = super::sample::Note;
    type Tx = crate::testkit::MemoryTx;

    async fn start_in_tx(&self, tx: &mut Self::Tx, saga: &NewRow) -> Result<(), JournalError> {
        forward!(self, self.inner.start_in_tx(tx, saga))
    }
    async fn start(&self, saga: &NewRow) -> Result<(), JournalError> {
        forward!(self, self.inner.start(saga))
    }
    async fn append(&self, entry: Arc<Append<Self::Local>>) -> Result<Appended, JournalError> {
        forward!(self, self.inner.append(entry))
    }
    async fn load(&self, id: SagaId) -> Result<Option<Stored>, JournalError> {
        forward!(self, self.inner.load(id))
    }
    async fn row(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        forward!(self, self.inner.row(id))
    }
    async fn snapshots(&self, ids: &[SagaId]) -> Result<Vec<crate::Snapshot>, JournalError> {
        forward!(self, self.inner.snapshots(ids))
    }
    async fn heartbeat(
        &self,
        replica: &ReplicaId,
        lease: Duration,
        known: &[DefinitionId],
    ) -> Result<Heartbeat, JournalError> {
        forward!(self, self.inner.heartbeat(replica, lease, known))
    }
    async fn claim(
        &self,
        replica: &ReplicaId,
        known: &[DefinitionId],
        limit: u32,
        believed: amends_primitives::Timestamp,
        now: amends_primitives::Timestamp,
    ) -> Result<Claimed, JournalError> {
        let claimed = forward!(self, self.inner.claim(replica, known, limit, believed, now));
        if self.lose_claim.swap(false, Ordering::SeqCst) {
            Err(JournalError::Unavailable("cut".into()))
        } else {
            claimed
        }
    }
    async fn evict_others(&self, replica: &ReplicaId) -> Result<(), JournalError> {
        forward!(self, self.inner.evict_others(replica))
    }
    async fn owned(&self, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError> {
        forward!(self, self.inner.owned(replica))
    }
    async fn retire(&self, replica: &ReplicaId, now: amends_primitives::Timestamp) -> Result<u64, JournalError> {
        forward!(self, self.inner.retire(replica, now))
    }
    async fn request(&self, id: SagaId, request: &OperatorRequest) -> Result<Requested, JournalError> {
        forward!(self, self.inner.request(id, request))
    }
    async fn requests(&self, replica: &ReplicaId) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError> {
        forward!(self, self.inner.requests(replica))
    }
    async fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        forward!(self, self.inner.list(filter))
    }
    async fn stats(&self, now: amends_primitives::Timestamp) -> Result<Stats, JournalError> {
        forward!(self, self.inner.stats(now))
    }
    async fn purge(&self, before: amends_primitives::Timestamp, limit: u32) -> Result<u64, JournalError> {
        if self.hoard.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(u64::from(limit));
        }
        forward!(self, self.inner.purge(before, limit))
    }
}

fn wired(world: &World, script: Script) -> (Arc<Wire>, Engine<Wire>) {
    let wire = Wire::to(world.journal.clone());
    let engine = Engine::builder(Arc::clone(&wire))
        .clock(Arc::<TokioClock>::clone(&world.clock))
        .ids(Arc::<SeededIds>::clone(&world.ids))
        .intercept(Arc::new(script))
        .register(trip(&world.books))
        .start();
    (wire, engine)
}

#[tokio::test(start_paused = true)]
async fn an_idle_replica_asks_less_than_once_a_second() {
    let world = World::new();
    let (wire, engine) = wired(&world, Script::default());
    until(|| engine.is_ready()).await;
    wire.calls.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_mins(5)).await;
    let calls = wire.calls.load(Ordering::SeqCst);
    assert!(calls < 300, "{calls} calls in 300 s");
}

#[tokio::test(start_paused = true)]
async fn sagas_of_an_unanswered_claim_do_not_wait_for_a_sweep() {
    let world = World::new();
    let slow = Scripted::Slow(Duration::from_millis(200));
    let first = world.engine(Script::default().then("charge_card", EffectKind::Act, 1, &slow)).await;
    let id = first.start(world.new_trip()).await.unwrap().id();
    first.kill();
    let (wire, next) = wired(&world, Script::default());
    wire.lose_claim.store(true, Ordering::SeqCst);
    let waited = next.handle(id).settled(Duration::from_secs(8)).await;
    assert!(matches!(waited, Waited::Settled(ref snapshot) if snapshot.status == Status::Completed), "{waited:?}");
    assert!(!wire.lose_claim.load(Ordering::SeqCst));
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_saga_outlives_its_database_being_down() {
    let world = World::new();
    let slow = Scripted::Slow(Duration::from_millis(200));
    let (wire, engine) = wired(&world, Script::default().then("charge_card", EffectKind::Act, 1, &slow));
    until(|| engine.is_ready()).await;
    let handle = engine.start(world.new_trip()).await.unwrap();
    wire.down.store(true, Ordering::SeqCst);
    // The lease runs out meanwhile: no replica can be sure of owning a saga.
    assert!(matches!(handle.settled(Duration::from_secs(20)).await, Waited::Running(_)));
    assert!(matches!(engine.start(world.new_trip()).await, Err(StartError::NotReady)));
    wire.down.store(false, Ordering::SeqCst);
    let Waited::Settled(snapshot) = handle.settled(Duration::from_secs(5)).await else { panic!("does not recover") };
    assert_eq!(snapshot.status, Status::Completed);
    until(|| engine.is_ready()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_replica_stops_driving_sagas_that_others_took() {
    let world = World::new();
    // In the zombie every charge takes long, so that it is cut off in the middle.
    let slow = Scripted::Slow(Duration::from_millis(400));
    let (wire, zombie) = wired(&world, Script::default().then("charge_card", EffectKind::Act, 1, &slow));
    until(|| zombie.is_ready()).await;
    let other = world.engine(Script::default().then("charge_card", EffectKind::Act, 3, &Scripted::Refuse)).await;
    let handle = zombie.start(world.new_trip()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.down.store(true, Ordering::SeqCst);
    // The zombie still finishes what it can before it notices: its pivot may be done.
    let status = settled(&other, handle.id()).await;
    wire.down.store(false, Ordering::SeqCst);
    until(|| zombie.active() == 0).await;
    let Waited::Settled(told) = handle.settled(Duration::from_secs(5)).await else { panic!("not told") };
    assert_eq!(told.status, status);
    match status {
        Status::Completed => assert_eq!(world.books.in_effect(handle.id()), ALL),
        _ => assert_eq!(world.books.in_effect(handle.id()), Vec::<&str>::new()),
    }
    assert_eq!(world.books.mistakes(), Vec::<String>::new());
}
