//! What millions of finished orders cost those that come after: sagas a second on a full database against an empty one, in one run and
//! in turns; and how long an operator's and a customer's first page take. In a SQLite file, and on PostgreSQL, which `cargo xtask bench` starts.
//!
//! `AMENDS_BENCH_ROWS` says how many finished orders there are (default 20 000; 10 000 000 take six minutes and 22 GB in a file, seven
//! minutes and 28 GB on a server), and `AMENDS_BENCH_STORE` where they are, if not in both: `sqlite` or `postgresql`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop, and tells what it measured")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amends_primitives::{IdSource, RandomIds, SagaId};
use amends_sql::{Database, Dialect, Options};
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
use tempfile::TempDir;

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

/// Where stores are made, each of its own.
enum Place {
    Sqlite(TempDir),
    /// By the server's URL.
    Postgres(String),
}

impl Place {
    const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// A new store's URL.
    async fn make(&self, name: &str) -> String {
        match self {
            Self::Sqlite(dir) => amends_sql::sqlite_url(&dir.path().join(format!("{name}.db"))).unwrap(),
            Self::Postgres(server) => {
                let name = format!("bench_{name}_{}", std::process::id());
                self.administer(&format!("CREATE DATABASE {name}")).await;
                let (server, _) = server.rsplit_once('/').unwrap();
                format!("{server}/{name}")
            }
        }
    }

    /// A file goes with its folder.
    async fn remove(&self, url: &str) {
        if let (Self::Postgres(_), Some((_, name))) = (self, url.rsplit_once('/')) {
            self.administer(&format!("DROP DATABASE {name}")).await;
        }
    }

    async fn administer(&self, sql: &str) {
        let Self::Postgres(server) = self else { return };
        let admin = Database::connect_lazy(server, &Options::administration()).unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(admin.writer()).await.unwrap();
        admin.close().await;
    }
}

struct Side {
    url: String,
    database: Database,
    administration: Database,
    engine: Engine<SqlJournal<NothingLocal>>,
    rates: Vec<f64>,
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches to see that they start; this one has nothing short to show.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows: i64 = setting("AMENDS_BENCH_ROWS").map_or(20_000, |rows| rows.parse().unwrap());
    let sqlite = Place::Sqlite(TempDir::with_prefix("amends-large-").unwrap());
    let mut places = vec![sqlite];
    match setting("AMENDS_TEST_POSTGRES_URL") {
        Some(server) => places.push(Place::Postgres(server)),
        None => println!("NOT RUN on PostgreSQL: run it by `cargo xtask bench`"),
    }
    if let Some(only) = setting("AMENDS_BENCH_STORE") {
        places.retain(|place| place.name().eq_ignore_ascii_case(&only));
    }
    for place in places {
        compare(&place, rows).await;
    }
}

async fn compare(place: &Place, rows: i64) {
    println!("\n{}", place.name());
    let (mut empty, mut large) = (Side::new(place, "empty").await, Side::new(place, "large").await);
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
        side.remove(place).await;
    }
}

impl Side {
    async fn new(place: &Place, name: &str) -> Self {
        let url = place.make(name).await;
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
        Self { url, database, administration, engine, rates: Vec::new() }
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
        let after: &[&'static str] = match self.database.dialect() {
            Dialect::Sqlite => &["PRAGMA wal_checkpoint(PASSIVE)"],
            // A vacuum of ten million takes longer than any statement of a service may.
            Dialect::Postgres => &["SET statement_timeout = 0", "VACUUM (ANALYZE)", "CHECKPOINT"],
        };
        for sql in after {
            sqlx::query(*sql).execute(self.administration.writer()).await.unwrap();
        }
    }

    async fn remove(self, place: &Place) {
        let _handed_over = self.engine.drain(Duration::from_secs(5)).await;
        self.database.close().await;
        self.administration.close().await;
        place.remove(&self.url).await;
    }
}

/// Orders of the last months, each with its line and its saga; ids sort by age as real ones do. A few sagas are parked.
///
/// The sagas are copies of some that the engine has run, and are written as it writes them: begun and then finished, in transactions of
/// the size of a busy engine's. Rows of another size, or without the dead ones between them, would leave other gaps in the tables'
/// pages, and how sagas that come later fit into those decides what they cost.
async fn fill(database: &Database, rows: i64) {
    let run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
    };
    run(format!(
        "CREATE TABLE template AS SELECT row_number() OVER () - 1 AS place, s.input, s.events
         FROM (SELECT * FROM sagas WHERE status = 'completed' AND events IS NOT NULL LIMIT {TEMPLATES}) AS s"
    ))
    .await;
    let templates: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM template").fetch_one(database.writer()).await.unwrap();
    assert_eq!(templates, (TEMPLATES,), "each saga of the filling has one");
    if database.dialect() == Dialect::Postgres {
        // What the filling itself costs is not measured; a crash in it ends the benchmark.
        run("SET synchronous_commit = off".to_owned()).await;
    }
    let mut from = 0;
    while from < rows {
        let to = (from + CHUNK).min(rows);
        let statements = match database.dialect() {
            Dialect::Sqlite => in_sqlite(from, to),
            Dialect::Postgres => in_postgres(from, to),
        };
        for statement in statements {
            run(statement).await;
        }
        from = to;
    }
    run("DROP TABLE template".to_owned()).await;
}

const AT: &str = "1700000000000000 + n * 1000000";

/// Orders with these numbers, which `series` brings as `n`.
fn orders(id: &str, trace: &str, series: &str) -> String {
    format!(
        "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, payment_id,
            reservation_id, saga_id, idempotency_key, trace_id, created_at, updated_at, settled_at, lines)
         SELECT {id}, 'customer-' || (n % 5000), 'confirmed', 2, 'EUR', 1850, 'pm_ok', {id}, {id}, {id}, 'key-' || n,
            {trace}, {AT}, {AT}, {AT},
            '[{{\"sku\":\"espresso-1kg\",\"quantity\":1,\"unit_price_minor\":1850}}]' {series}"
    )
}

/// A file keeps no dead rows: what is written at once is as what was changed.
fn in_sqlite(from: i64, to: i64) -> [String; 2] {
    let id = "printf('01900000-0000-7000-8000-%012x', n)";
    let numbers = format!(
        "(WITH RECURSIVE s(n) AS (SELECT {from} + 1 UNION ALL SELECT n + 1 FROM s WHERE n < {to}) SELECT n FROM s)"
    );
    let parked = "n % 100000 = 7";
    [
        orders(id, "printf('%032x', n * 2654435761)", &format!("FROM {numbers}")),
        format!(
            "INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, owner, created_at, updated_at,
                finished_at, events)
             SELECT {id}, 'place-order', 1, {id}, CASE WHEN {parked} THEN 'parked' ELSE 'completed' END, t.input, 3, 1, NULL, {AT}, {AT},
                CASE WHEN {parked} THEN NULL ELSE {AT} END, t.events
             FROM {numbers} JOIN template t ON t.place = n % {TEMPLATES}"
        ),
    ]
}

fn in_postgres(from: i64, to: i64) -> [String; 2] {
    let id = "'01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')";
    let series = |from: &str, to: &str| format!("FROM generate_series(CAST({from} + 1 AS BIGINT), {to}) AS series(n)");
    let batch = series("done", "least(done + size, last)");
    [
        orders(id, "md5(CAST(n AS TEXT))", &series(&from.to_string(), &to.to_string())),
        // No engine may see them running: it would take them over.
        format!(
            "DO $fill$ DECLARE done BIGINT := {from}; last BIGINT := {to}; size BIGINT := {BATCH}; BEGIN
             WHILE done < last LOOP
                INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, owner, created_at, updated_at)
                SELECT {id}, 'place-order', 1, {id}, 'running', t.input, 0, 1, 'a replica of some time ago', {AT}, {AT}
                {batch} JOIN template t ON t.place = series.n % {TEMPLATES};
                UPDATE sagas SET status = CASE WHEN ended.n % 100000 = 7 THEN 'parked' ELSE 'completed' END, seq = 3, owner = NULL,
                    finished_at = CASE WHEN ended.n % 100000 = 7 THEN NULL ELSE {AT} END, events = ended.events
                FROM (SELECT n, t.events {batch} JOIN template t ON t.place = series.n % {TEMPLATES}) AS ended WHERE sagas.id = {id};
                COMMIT;
                done := least(done + size, last);
             END LOOP; END $fill$"
        ),
    ]
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
