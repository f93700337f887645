//! What the engine costs: the pure machine, the journal by batch size, and whole sagas against a floor that makes the same calls
//! without an engine. `cargo bench -p saga-engine`; with `AMENDS_TEST_POSTGRES_URL` set, also on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use amends_primitives::{IdSource, RandomIds, SagaId, Timestamp};
use amends_sql::{Database, Options};
use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use saga_engine::{
    Closed, Compensable, Definition, Engine, NewSaga, NoLocal, NothingLocal, Outcome, Pivot, Policy, SCHEMA, Saga,
    SqlJournal, Status, Step, StepContext, TraceContext, Undo, Waited,
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

/// A participant that takes as long as a call to another service that writes to its own store.
async fn participant() -> u32 {
    tokio::time::sleep(Duration::from_millis(2)).await;
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
    Definition::builder()
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

criterion_group!(benches, machine, journal, engine);
criterion_main!(benches);
