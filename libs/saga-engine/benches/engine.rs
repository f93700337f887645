//! What the engine costs: the pure machine, the journal by batch size, and whole sagas against a floor that makes the same calls
//! without an engine. `cargo bench -p saga-engine`; with `AMENDS_TEST_POSTGRES_URL` set, also on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use amends_primitives::{IdSource, RandomIds, SagaId, Timestamp};
use amends_sql::{Database, Options};
use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use saga_engine::{
    Closed, Compensable, Definition, Engine, Journaling, NewSaga, NoLocal, NothingLocal, Outcome, Pivot, Policy,
    SCHEMA, Saga, SqlJournal, Status, Step, StepContext, TraceContext, Undo, Waited,
    event::{Event, Record},
    journal::{Append, DefinitionId, Journal, NewRow, ReplicaId},
    plan::{self, Conclusion, Next},
    state::State,
    transition::apply,
};
use tokio::{runtime::Runtime, task::JoinSet};

struct Flow;

impl Saga for Flow {
    const NAME: &'static str = "flow";
    const VERSION: u32 = 1;
    type State = Vec<u32>;
    type Local = NoLocal;
}

/// How long a participant takes; nothing in the groups that measure the engine itself.
static PARTICIPANT_MS: AtomicU64 = AtomicU64::new(2);

/// A participant that takes as long as a call to another service that writes to its own store, or no time at all.
async fn participant() -> u32 {
    let takes = Duration::from_millis(PARTICIPANT_MS.load(Ordering::Relaxed));
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    7
}

macro_rules! step {
    ($name:ident, $text:literal) => {
        struct $name;

        #[async_trait]
        impl Step<Flow> for $name {
            const NAME: &'static str = $text;
            type Output = u32;

            async fn act(&self, _state: &Vec<u32>, _context: &StepContext) -> Outcome<u32> {
                Outcome::Done(participant().await)
            }

            fn record(state: &mut Vec<u32>, output: u32) {
                state.push(output);
            }
        }
    };
}

step!(Reserve, "reserve");
step!(Charge, "charge");
step!(Commit, "commit");
step!(Confirm, "confirm");

#[async_trait]
impl Compensable<Flow> for Reserve {
    async fn compensate(&self, _state: &Vec<u32>, _context: &StepContext) -> Undo {
        Undo::Undone
    }
}

#[async_trait]
impl Compensable<Flow> for Charge {
    async fn compensate(&self, _state: &Vec<u32>, _context: &StepContext) -> Undo {
        Undo::Undone
    }
}

#[async_trait]
impl Pivot<Flow> for Commit {
    async fn close(&self, _state: &Vec<u32>, _context: &StepContext) -> Closed<u32> {
        Closed::Closed
    }
}

fn flow() -> Definition<Flow> {
    flow_journaled(Journaling::Decisions)
}

fn flow_journaled(journaling: Journaling) -> Definition<Flow> {
    Definition::builder()
        .journaling(journaling)
        .step(Reserve, Policy::default())
        .step(Charge, Policy::default())
        .pivot(Commit, Policy::default())
        .retriable(Confirm, Policy::default())
        .build()
        .unwrap()
}

/// One happy saga through the machine alone.
fn machine(criterion: &mut Criterion) {
    let definition = flow();
    let shape = definition.shape();
    let now = Timestamp::from_millis(1_700_000_000_000);
    let one = || {
        let mut state = State::started(shape, now);
        let happens = |state: &mut State, event: Event| apply(shape, state, &Record { at: now, event }).unwrap();
        loop {
            match plan::next(shape, &state, now) {
                Next::Perform(effects) => {
                    for effect in effects {
                        happens(&mut state, plan::started(shape, effect));
                        let done = Conclusion::Acted(Outcome::Done(serde_json::Value::from(7)));
                        let event = plan::concluded(shape, &state, effect, done, now, 0.5);
                        happens(&mut state, event);
                    }
                }
                Next::Decide(event) => happens(&mut state, event),
                _ => return state.seq,
            }
        }
    };
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(one()));
    group.bench_function("events", |bencher| bencher.iter(one));
    group.finish();
}

struct Store {
    name: &'static str,
    database: Database,
    _dir: Option<tempfile::TempDir>,
}

async fn stores() -> Vec<Store> {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("bench.db").display());
    let database = Database::connect_lazy(&url, &Options::default()).unwrap();
    let mut stores = vec![Store { name: "sqlite", database, _dir: Some(dir) }];
    #[expect(clippy::disallowed_methods, reason = "where benchmarks find their servers")]
    if let Ok(admin_url) = std::env::var("AMENDS_TEST_POSTGRES_URL") {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("saga_bench_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = Database::connect_lazy(&admin_url, &Options::administration()).unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(admin.writer()).await.unwrap();
        let (server, _) = admin_url.rsplit_once('/').unwrap();
        let database = Database::connect_lazy(&format!("{server}/{name}"), &Options::default()).unwrap();
        stores.push(Store { name: "postgres", database, _dir: None });
    }
    for store in &stores {
        store.database.migrate(&SCHEMA).await.unwrap();
        // Like a store that has been in use: on empty tables PostgreSQL makes plans that it regrets as soon as there are rows.
        let fill = "INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, created_at, updated_at, finished_at)
            WITH RECURSIVE filler (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM filler WHERE number < 20000)
            SELECT 'filler ' || number, 'flow', 1, '', 'completed', '[]', 9, 1, number, number, number FROM filler";
        for sql in [fill, "ANALYZE"] {
            sqlx::query(sql).execute(store.database.writer()).await.unwrap();
        }
    }
    stores
}

/// Entries written at the same time: what sharing a commit saves.
fn journal(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(20);
    for store in runtime.block_on(stores()) {
        let journal = Arc::new(runtime.block_on(async { SqlJournal::new(store.database.clone(), NothingLocal) }));
        for batch in [1_usize, 8, 64] {
            let now = Timestamp::from_millis(1_700_000_000_000);
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(store.name, batch), |bencher| {
                let owner = ReplicaId::new("bench");
                let entries: Vec<_> = (0..batch)
                    .map(|_| Append {
                        saga_id: SagaId::new(RandomIds.next_id()),
                        expected_seq: 0,
                        fence: 1,
                        owner: owner.clone(),
                        records: vec![Record {
                            at: now,
                            event: Event::StepStarted { step: "charge".into(), attempt: 1 },
                        }],
                        status: Status::Running,
                        step: Some("charge".into()),
                        failure: None,
                        parked: None,
                        wake_at: None,
                        clears_request: false,
                        releases: false,
                        local: None,
                        at: now,
                    })
                    .collect();
                runtime.block_on(join_all(entries.iter().map(async |entry: &Append<NoLocal>| {
                    let row = NewRow {
                        id: entry.saga_id,
                        definition: DefinitionId { name: "flow".into(), version: 1 },
                        subject: String::new(),
                        input: "[]".into(),
                        trace: TraceContext::none(),
                        owner: owner.clone(),
                        at: now,
                    };
                    journal.start(&row).await.unwrap();
                })));
                let mut seq = 0;
                bencher.iter(|| {
                    let entries = entries.iter().map(|entry| Arc::new(Append { expected_seq: seq, ..entry.clone() }));
                    let written = runtime.block_on(join_all(entries.map(|entry| journal.append(entry))));
                    seq += 1;
                    assert!(written.into_iter().all(|written| written.is_ok()));
                });
            });
        }
    }
    group.finish();
}

/// Has this number of customers buy `rounds` times each, independently: none waits for the slowest of a round.
async fn shop<F: Future<Output = ()> + Send>(
    customers: usize,
    rounds: u64,
    buy: impl Fn() -> F + Clone + Send + 'static,
) -> Duration {
    let begun = Instant::now();
    let mut shopping = JoinSet::new();
    for _ in 0..customers {
        let buy = buy.clone();
        shopping.spawn(async move {
            for _ in 0..rounds {
                buy().await;
            }
        });
    }
    shopping.join_all().await;
    begun.elapsed()
}

async fn buy(engine: Engine<SqlJournal<NothingLocal>>) {
    let id = SagaId::new(RandomIds.next_id());
    let new = NewSaga::<Flow> { id, state: Vec::new(), subject: String::new(), trace: TraceContext::none() };
    let settled = engine.start(new).await.unwrap().settled(Duration::from_secs(10)).await;
    assert!(matches!(settled, Waited::Settled(snapshot) if snapshot.status == Status::Completed));
}

/// Whole sagas, a number of them at once; and the same calls without an engine.
fn engine(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("saga");
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    for customers in [1_usize, 32] {
        group.throughput(Throughput::Elements(customers as u64));
        group.bench_function(BenchmarkId::new("floor", customers), |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(shop(customers, rounds, || async {
                    for _ in 0..4 {
                        participant().await;
                    }
                }))
            });
        });
    }
    for store in runtime.block_on(stores()) {
        let engine = runtime.block_on(async {
            let journal = Arc::new(SqlJournal::new(store.database.clone(), NothingLocal));
            let engine = Engine::builder(journal).register(flow()).start();
            while !engine.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            engine
        });
        for customers in [1_usize, 32] {
            group.throughput(Throughput::Elements(customers as u64));
            group.bench_function(BenchmarkId::new(store.name, customers), |bencher| {
                bencher.iter_custom(|rounds| {
                    let engine = engine.clone();
                    runtime.block_on(shop(customers, rounds, move || buy(engine.clone())))
                });
            });
        }
    }
    group.finish();
}

/// Sagas whose participants cost nothing, against what makes the same rows durable by hand: one transaction that inserts all of them and
/// one that moves them to their end with their events, and nothing that could go on after a crash.
fn instant(criterion: &mut Criterion) {
    PARTICIPANT_MS.store(0, Ordering::Relaxed);
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("instant");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for store in runtime.block_on(stores()) {
        for sagas in [1_usize, 32] {
            group.throughput(Throughput::Elements(sagas as u64));
            group.bench_function(BenchmarkId::new(format!("{} by hand", store.name), sagas), |bencher| {
                bencher.iter(|| runtime.block_on(by_hand(&store.database, sagas)));
            });
        }
        for (journaling, name) in [(Journaling::Decisions, "decisions"), (Journaling::EveryStep, "every step")] {
            let engine = runtime.block_on(async {
                let journal = Arc::new(SqlJournal::new(store.database.clone(), NothingLocal));
                let engine = Engine::builder(journal).register(flow_journaled(journaling)).start();
                while !engine.is_ready() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                engine
            });
            for customers in [1_usize, 32] {
                group.throughput(Throughput::Elements(customers as u64));
                group.bench_function(BenchmarkId::new(format!("{} {name}", store.name), customers), |bencher| {
                    bencher.iter_custom(|rounds| {
                        let engine = engine.clone();
                        runtime.block_on(shop(customers, rounds, move || buy(engine.clone())))
                    });
                });
            }
            engine.kill();
        }
    }
    group.finish();
}

/// The rows that a saga leaves, with the events of its four steps.
async fn by_hand(database: &Database, sagas: usize) {
    const EVENTS: &str = r#"[{"at":"2026-01-01T00:00:00Z","event":{"type":"step_started.v1","step":"reserve","attempt":1}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_done.v1","step":"reserve","attempt":1,"output":7}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_started.v1","step":"charge","attempt":1}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_done.v1","step":"charge","attempt":1,"output":7}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_started.v1","step":"commit","attempt":1}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_done.v1","step":"commit","attempt":1,"output":7}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_started.v1","step":"confirm","attempt":1}},{"at":"2026-01-01T00:00:00Z","event":{"type":"step_done.v1","step":"confirm","attempt":1,"output":7}},{"at":"2026-01-01T00:00:00Z","event":{"type":"completed.v1"}}]"#;
    let ids: Vec<String> = (0..sagas).map(|_| RandomIds.next_id().to_string()).collect();
    let list = |width: usize, from: usize| {
        let row = |at: usize| {
            let values: Vec<String> = (0..width).map(|column| format!("${}", from + at * width + column)).collect();
            format!("({})", values.join(", "))
        };
        (0..sagas).map(row).collect::<Vec<_>>().join(", ")
    };
    let insert = format!(
        "INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, owner, created_at, updated_at)
        SELECT column1, 'flow', 1, '', 'running', '[]', 0, 1, 'bench', 1, 1 FROM (VALUES {}) AS new",
        list(1, 1)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(insert));
    for id in &ids {
        query = query.bind(id);
    }
    // A statement by itself is a transaction, and saves PostgreSQL two round trips.
    query.execute(database.writer()).await.unwrap();

    let end = format!(
        "UPDATE sagas SET seq = 9, status = 'completed', owner = NULL, updated_at = 2, finished_at = 2, events = $1
        WHERE id IN ({}) AND fence = 1 AND owner = 'bench'",
        (2..=sagas + 1).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(end)).bind(EVENTS);
    for id in &ids {
        query = query.bind(id);
    }
    query.execute(database.writer()).await.unwrap();
}

criterion_group!(benches, machine, journal, engine, instant);
criterion_main!(benches);
