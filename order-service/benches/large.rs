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
/// Pairs of turns, every other pair in the other order.
const PAIRS: usize = 8;
/// Rows written by one statement of the filling.
const CHUNK: i64 = 50_000;
/// Sagas that the engine has run, of which the filling makes copies.
const TEMPLATES: i64 = 500;
/// As many as the engine's writer puts into one transaction when it is busy: the filling leaves as many dead rows between living ones.
const BATCH: i64 = 64;
/// What a saga's state is long, at least and at most: a place-order saga's, with its lines. Not all of one length, so that some fit
/// where others have left room.
const STATE_BYTES: std::ops::Range<usize> = 200..400;
/// By how much a step's output is longer, so that a saga's events are as long as place-order's.
const OUTPUT_BYTES: usize = 190;

struct Flow;

impl Saga for Flow {
    const NAME: &'static str = "flow";
    const VERSION: u32 = 1;
    type State = String;
    type Local = NoLocal;
}

struct Call;

#[async_trait]
impl Step<Flow> for Call {
    const NAME: &'static str = "call";
    type Output = String;

    async fn act(&self, state: &String, _context: &StepContext) -> Outcome<String> {
        Outcome::Done("x".repeat(state.len() + OUTPUT_BYTES))
    }

    fn record(state: &mut String, output: String) {
        *state = output;
    }
}

#[async_trait]
impl Compensable<Flow> for Call {
    async fn compensate(&self, _state: &String, _context: &StepContext) -> Undo {
        Undo::Undone
    }
}

struct Side {
    name: String,
    database: Database,
    administration: Database,
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
    large.turn().await;
    fill(&large.administration, rows).await;
    println!("{rows} finished orders written in {:.0} s", begun.elapsed().as_secs_f64());
    for side in [&mut empty, &mut large] {
        side.turn().await;
        side.settle().await;
        side.rates.clear();
    }
    for pair in 0..PAIRS {
        let (first, second) = if pair % 2 == 0 { (&mut empty, &mut large) } else { (&mut large, &mut empty) };
        first.turn().await;
        second.turn().await;
    }
    let mut ratios: Vec<f64> =
        empty.rates.iter().zip(&large.rates).map(|(empty, large)| 100.0 * large / empty).collect();
    let (of_empty, of_large) = (median(&mut empty.rates), median(&mut large.rates));
    println!("sagas/s, {CONCURRENCY} at once, median of {PAIRS} turns: empty {of_empty:.0}, large {of_large:.0}");
    let of_pairs = median(&mut ratios);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!(
        "throughput on the large one: {of_pairs:.1} % of the empty one's (median of pairs; {least:.1} to {most:.1})"
    );
    pages(&large.database).await;
    for side in [empty, large] {
        side.drop_database(&server).await;
    }
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
        let administration = Database::connect_lazy(&url, &Options::administration()).unwrap();
        Self { name, database, administration, engine, rates: Vec::new() }
    }

    async fn turn(&mut self) {
        let begun = Instant::now();
        let customers = (0..CONCURRENCY).map(async |customer| {
            let mut done = 0_u32;
            while begun.elapsed() < TURN {
                let id = SagaId::new(RandomIds.next_id());
                let length = STATE_BYTES.start + (customer * 37 + done as usize * 53) % STATE_BYTES.len();
                let (state, subject) = ("x".repeat(length), id.to_string());
                let new = NewSaga::<Flow> { id, state, subject, trace: TraceContext::none() };
                let _settled = self.engine.start(new).await.unwrap().settled(Duration::from_secs(30)).await;
                done += 1;
            }
            done
        });
        let done: u32 = join_all(customers).await.into_iter().sum();
        self.rates.push(f64::from(done) / begun.elapsed().as_secs_f64());
    }

    /// Neither the vacuum that this number of new rows calls for nor the checkpoint of the filling is measured with the sagas; and
    /// PostgreSQL, which finds out within a minute that tables are no longer empty, plans for it at once.
    async fn settle(&self) {
        for sql in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::query(sql).execute(self.administration.writer()).await.unwrap();
        }
    }

    async fn drop_database(self, server: &str) {
        let _handed_over = self.engine.drain(Duration::from_secs(5)).await;
        self.database.close().await;
        self.administration.close().await;
        let admin = Database::connect_lazy(server, &Options::administration()).unwrap();
        let sql = format!("DROP DATABASE {}", self.name);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(admin.writer()).await.unwrap();
    }
}

/// Orders of the last months, each with its line and its saga; ids sort by age as real ones do. A few sagas are parked.
///
/// The sagas are copies of some that the engine has run, and are written as it writes them: begun and then finished, in transactions of
/// the size of a busy engine's. Rows of another size, or without the dead ones between them, would leave other gaps in the tables'
/// pages, and how sagas that come later fit into those decides what they cost.
async fn fill(database: &Database, rows: i64) {
    let template = format!(
        "CREATE TABLE template AS SELECT row_number() OVER () - 1 AS place, s.input, s.events
         FROM (SELECT * FROM sagas WHERE status = 'completed' AND events IS NOT NULL LIMIT {TEMPLATES}) AS s"
    );
    // What the filling itself costs is not measured; a crash in it ends the benchmark.
    for sql in [template.as_str(), "SET synchronous_commit = off"] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
    }
    let templates: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM template").fetch_one(database.writer()).await.unwrap();
    assert_eq!(templates, (TEMPLATES,), "each saga of the filling has one");
    let mut from = 0;
    while from < rows {
        let to = (from + CHUNK).min(rows);
        let id = "'01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')";
        let at = "1700000000000000 + n * 1000000";
        let series =
            |from: &str, to: &str| format!("FROM generate_series(CAST({from} + 1 AS BIGINT), {to}) AS series(n)");
        let (orders, batch) = (series(&from.to_string(), &to.to_string()), series("done", "least(done + size, last)"));
        let statements = [
            format!(
                "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, payment_id,
                    reservation_id, saga_id, idempotency_key, trace_id, created_at, updated_at, settled_at,
                    lines)
                 SELECT {id}, 'customer-' || (n % 5000), 'confirmed', 2, 'EUR', 1850, 'pm_ok', {id}, {id}, {id}, 'key-' || n,
                    md5(CAST(n AS TEXT)), {at}, {at}, {at},
                    '[{{\"sku\":\"espresso-1kg\",\"quantity\":1,\"unit_price_minor\":1850}}]' {orders}"
            ),
            // No engine may see them running: it would take them over.
            format!(
                "DO $fill$ DECLARE done BIGINT := {from}; last BIGINT := {to}; size BIGINT := {BATCH}; BEGIN
                 WHILE done < last LOOP
                    INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, owner, created_at, updated_at)
                    SELECT {id}, 'place-order', 1, {id}, 'running', t.input, 0, 1, 'a replica of some time ago', {at}, {at}
                    {batch} JOIN template t ON t.place = series.n % {TEMPLATES};
                    UPDATE sagas SET status = CASE WHEN ended.n % 100000 = 7 THEN 'parked' ELSE 'completed' END, seq = 3, owner = NULL,
                        finished_at = CASE WHEN ended.n % 100000 = 7 THEN NULL ELSE {at} END, events = ended.events
                    FROM (SELECT n, t.events {batch} JOIN template t ON t.place = series.n % {TEMPLATES}) AS ended WHERE sagas.id = {id};
                    COMMIT;
                    done := least(done + size, last);
                 END LOOP; END $fill$"
            ),
        ];
        for statement in statements {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(database.writer()).await.unwrap();
        }
        from = to;
    }
    sqlx::query("DROP TABLE template").execute(database.writer()).await.unwrap();
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
