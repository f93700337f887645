//! What millions of finished orders cost those that come after: sagas a second on a full database against an empty one, in one run and
//! in turns; and how long an operator's and a customer's first page take. On PostgreSQL, which `cargo xtask bench` starts.
//!
//! `AMENDS_BENCH_ROWS` says how many finished orders there are (default 20 000; 5 000 000 take some minutes and 6 GB).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop, and tells what it measured")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amends_primitives::{IdSource, RandomIds, SagaId};
use amends_sql::{Database, Options};
use async_trait::async_trait;
use futures::future::join_all;
use order_service::{
    domain::CustomerId,
    ports::{ListOrders, OrderStore},
    store::SqlOrders,
};
use saga_engine::{
    Compensable, Definition, Engine, NewSaga, NoLocal, NothingLocal, Outcome, Policy, Saga, SqlJournal, Status, Step,
    StepContext, TraceContext, Undo,
    journal::{Filter, Journal},
};

/// Sagas in flight.
const CONCURRENCY: usize = 32;
/// Each database is measured for so long at a time, in turns, so that what else the machine does meets both.
const TURN: Duration = Duration::from_secs(4);
const TURNS: usize = 6;
/// Rows written by one statement of the filling.
const CHUNK: i64 = 250_000;

struct Flow;

impl Saga for Flow {
    const NAME: &'static str = "flow";
    const VERSION: u32 = 1;
    type State = u32;
    type Local = NoLocal;
}

struct Call;

#[async_trait]
impl Step<Flow> for Call {
    const NAME: &'static str = "call";
    type Output = u32;

    async fn act(&self, _state: &u32, _context: &StepContext) -> Outcome<u32> {
        Outcome::Done(7)
    }

    fn record(state: &mut u32, output: u32) {
        *state = output;
    }
}

#[async_trait]
impl Compensable<Flow> for Call {
    async fn compensate(&self, _state: &u32, _context: &StepContext) -> Undo {
        Undo::Undone
    }
}

struct Side {
    url: String,
    database: Database,
    engine: Engine<SqlJournal<NothingLocal>>,
    rates: Vec<f64>,
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches to see that they start; this one needs a server and has nothing short to show.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows: i64 = setting("AMENDS_BENCH_ROWS").map_or(20_000, |rows| rows.parse().unwrap());
    let Some(server) = setting("AMENDS_TEST_POSTGRES_URL") else {
        println!("NOT RUN: large needs PostgreSQL; run it by `cargo xtask bench`");
        return;
    };
    let (mut empty, mut large) = (Side::new(&server, "empty").await, Side::new(&server, "large").await);
    let begun = Instant::now();
    fill(&Database::connect_lazy(&large.url, &Options::administration()).unwrap(), rows).await;
    println!("{rows} finished orders written in {:.0} s", begun.elapsed().as_secs_f64());
    for side in [&mut empty, &mut large] {
        // PostgreSQL finds out within a minute that tables are no longer empty, and then plans for it; this says so at once.
        side.turn().await;
        let administration = Database::connect_lazy(&side.url, &Options::administration()).unwrap();
        sqlx::query("ANALYZE").execute(administration.writer()).await.unwrap();
        side.rates.clear();
    }
    for _ in 0..TURNS {
        empty.turn().await;
        large.turn().await;
    }
    let (of_empty, of_large) = (median(&mut empty.rates), median(&mut large.rates));
    println!("sagas/s, {CONCURRENCY} at once, median of {TURNS} turns: empty {of_empty:.0}, large {of_large:.0}");
    println!("throughput on the large one: {:.1} % of the empty one's", 100.0 * of_large / of_empty);
    pages(&large.database).await;
}

impl Side {
    async fn new(server: &str, name: &str) -> Self {
        let name = format!("bench_{name}_{}", std::process::id());
        let admin = Database::connect_lazy(server, &Options::administration()).unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(admin.writer()).await.unwrap();
        let (server, _) = server.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let database = Database::connect_lazy(&url, &Options::default()).unwrap();
        for schema in order_service::schemas() {
            database.migrate(&schema).await.unwrap();
        }
        let flow = Definition::builder().step(Call, Policy::default()).build().unwrap();
        let engine = Engine::builder(Arc::new(SqlJournal::new(database.clone(), NothingLocal))).register(flow).start();
        while !engine.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { url, database, engine, rates: Vec::new() }
    }

    async fn turn(&mut self) {
        let begun = Instant::now();
        let customers = (0..CONCURRENCY).map(async |_| {
            let mut done = 0_u32;
            while begun.elapsed() < TURN {
                let id = SagaId::new(RandomIds.next_id());
                let new = NewSaga::<Flow> { id, state: 0, subject: id.to_string(), trace: TraceContext::none() };
                let _settled = self.engine.start(new).await.unwrap().settled(Duration::from_secs(30)).await;
                done += 1;
            }
            done
        });
        let done: u32 = join_all(customers).await.into_iter().sum();
        self.rates.push(f64::from(done) / begun.elapsed().as_secs_f64());
    }
}

/// Orders of the last months, each with its lines and its saga; ids sort by age as real ones do. A few sagas are parked.
async fn fill(database: &Database, rows: i64) {
    let mut from = 0;
    while from < rows {
        let to = (from + CHUNK).min(rows);
        let series = format!("FROM generate_series(CAST({} AS BIGINT), {to}) AS n", from + 1);
        let id = "'01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')";
        let at = "1700000000000000 + n * 1000000";
        let statements = [
            format!(
                "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, payment_id,
                    reservation_id, saga_id, idempotency_key, trace_id, created_at, updated_at, settled_at)
                 SELECT {id}, 'customer-' || (n % 5000), 'confirmed', 2, 'EUR', 1850, 'pm_ok', {id}, {id}, {id}, 'key-' || n,
                    md5(CAST(n AS TEXT)), {at}, {at}, {at} {series}"
            ),
            format!(
                "INSERT INTO order_lines (order_id, line_no, sku, quantity, unit_price_minor)
                 SELECT {id}, 1, 'espresso-1kg', 1, 1850 {series}"
            ),
            format!(
                "INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, created_at, updated_at, finished_at)
                 SELECT {id}, 'place-order', 1, {id}, CASE WHEN n % 100000 = 7 THEN 'parked' ELSE 'completed' END, repeat('x', 300),
                    9, 1, {at}, {at}, CASE WHEN n % 100000 = 7 THEN NULL ELSE {at} END {series}"
            ),
            format!("INSERT INTO saga_events (saga_id, seq, events) SELECT {id}, 1, repeat('x', 700) {series}"),
        ];
        for statement in statements {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(database.writer()).await.unwrap();
        }
        from = to;
    }
    // Neither the vacuum that so many new rows call for nor the checkpoint of the filling is measured with the sagas.
    for after in ["orders", "order_lines", "sagas", "saga_events"] {
        let sql = format!("VACUUM (ANALYZE) {after}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
    }
    sqlx::query("CHECKPOINT").execute(database.writer()).await.unwrap();
}

async fn pages(database: &Database) {
    let journal = SqlJournal::new(database.clone(), NothingLocal);
    let parked = Filter { status: Some(Status::Parked), ..Filter::default() };
    report("saga list --state parked", async || drop(journal.list(&parked).await.unwrap())).await;
    report("saga list", async || drop(journal.list(&Filter::default()).await.unwrap())).await;
    let now = amends_primitives::Timestamp::from_millis(0);
    report("saga stats", async || drop(journal.stats(now).await.unwrap())).await;
    let orders = SqlOrders::new(database.clone(), order_service::journal(database));
    let everybody = ListOrders { customer: None, status: None, before: None, limit: 20 };
    let one = ListOrders { customer: Some(CustomerId::try_new("customer-7").unwrap()), ..everybody.clone() };
    report("GET /v1/orders, one customer's", async || drop(orders.list(&one).await.unwrap())).await;
    report("GET /v1/orders, everybody's", async || drop(orders.list(&everybody).await.unwrap())).await;
}

async fn report(what: &str, ask: impl AsyncFn()) {
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        ask().await;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!("{what}: p50 {:.1} ms, slowest of 50 {worst:.1} ms", median(&mut times));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "where benchmarks find their servers")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
