//! A trip, step by step: a participant in a hundred lines, a saga of four steps, a refusal, a crash, and every fault there is.
//!
//! ```sh
//! cargo run -p saga-engine --example tutorial --features testkit
//! ```
//!
//! It also runs as a test of the engine.

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock, IdSource, RandomIds, SagaId, SystemClock};
use amends_sql::{Database, Migration, Options, Schema, Tx};
use async_trait::async_trait;
use saga_engine::{
    Cause, Closed, Compensable, Definition, Engine, NewSaga, NoLocal, NothingLocal, Outcome, Pivot, Policy, SCHEMA,
    Saga, SqlJournal, Status, Step, StepContext, StepKey, TraceContext, Undo, Waited,
    participant::{self, Barrier, BarrierError, BeginAction, BeginClose, BeginCompensation},
    testkit::{Books, Fault, MemoryJournal, run_with},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

// ---------------------------------------------------------------- 1. a participant

/// What a saga asks of a desk that books something. Behind it could be a gRPC client.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Books, once per key.
    async fn book(&self, key: StepKey, what: &str) -> Outcome<Value>;
    /// Takes the booking back. "There is none" is fine, and then there never will be one.
    async fn cancel(&self, key: StepKey) -> Undo;
    /// Finds out whether the booking was made, or makes sure that it never will be.
    async fn close(&self, key: StepKey) -> Closed<Value>;
}

/// A desk with a table in SQL. Each call is one transaction: the barrier's row and the booking commit together.
pub struct SqlDesk {
    database: Database,
    barrier: Barrier,
    capacity: i64,
}

const BOOKINGS: Schema = Schema {
    component: "bookings",
    migrations: &[Migration {
        version: 1,
        description: "bookings",
        postgres: None,
        sql: "CREATE TABLE bookings (step_key TEXT NOT NULL PRIMARY KEY, what TEXT NOT NULL)",
    }],
};

impl SqlDesk {
    async fn try_book(&self, key: &StepKey, what: &str) -> Result<Outcome<Value>, BarrierError> {
        let (mut tx, now) = (self.database.begin().await?, SystemClock.now());
        // What is asked for is the fingerprint; a real one is a digest.
        let outcome = match self.barrier.begin_action(&mut tx, key, what, now).await? {
            BeginAction::First if count(&mut tx).await? >= self.capacity => {
                let why = json!("sold out");
                self.barrier.refuse(&mut tx, key, &why, now).await?;
                Outcome::refused("sold_out", "there is nothing left to book")
            }
            BeginAction::First => {
                let insert = sqlx::query("INSERT INTO bookings (step_key, what) VALUES ($1, $2)");
                insert.bind(key.to_string()).bind(what.to_owned()).execute(&mut *tx).await?;
                let answer = json!({ "booking": format!("{what}-{}", key.step()) });
                self.barrier.finish(&mut tx, key, &answer, now).await?;
                Outcome::Done(answer)
            }
            BeginAction::Repeat(answer) => Outcome::Done(answer),
            BeginAction::RepeatRefusal(_) => Outcome::refused("sold_out", "there is nothing left to book"),
            BeginAction::Compensated => Outcome::refused("compensated", "the booking was cancelled before it arrived"),
            BeginAction::Mismatch => Outcome::refused("key_reused", "the key was used for something else"),
        };
        tx.commit().await?;
        Ok(outcome)
    }

    async fn try_cancel(&self, key: &StepKey) -> Result<(), BarrierError> {
        let mut tx = self.database.begin().await?;
        if let BeginCompensation::WasDone(_) = self.barrier.begin_compensation(&mut tx, key, SystemClock.now()).await? {
            sqlx::query("DELETE FROM bookings WHERE step_key = $1").bind(key.to_string()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn try_close(&self, key: &StepKey) -> Result<BeginClose, BarrierError> {
        let mut tx = self.database.begin().await?;
        let closed = self.barrier.begin_close(&mut tx, key, SystemClock.now()).await?;
        tx.commit().await?;
        Ok(closed)
    }
}

/// An error says nothing about what took effect: a commit may have succeeded without our hearing of it.
fn cause(error: &BarrierError) -> Cause {
    Cause::environment("desk_unavailable", error.to_string())
}

#[async_trait]
impl Desk for SqlDesk {
    async fn book(&self, key: StepKey, what: &str) -> Outcome<Value> {
        self.try_book(&key, what).await.unwrap_or_else(|error| Outcome::Unknown(cause(&error)))
    }

    async fn cancel(&self, key: StepKey) -> Undo {
        self.try_cancel(&key).await.map_or_else(|error| Undo::NotYet(cause(&error)), |()| Undo::Undone)
    }

    async fn close(&self, key: StepKey) -> Closed<Value> {
        match self.try_close(&key).await {
            Ok(BeginClose::Closed) => Closed::Closed,
            Ok(BeginClose::WasDone(answer)) => Closed::WasDone(answer),
            Err(error) => Closed::NotYet(cause(&error)),
        }
    }
}

async fn count(tx: &mut Tx) -> Result<i64, BarrierError> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM bookings").fetch_one(&mut **tx).await?;
    Ok(count)
}

// ---------------------------------------------------------------- 2. a saga

/// The kind of saga.
pub struct Trip;

/// Begins as the input; each step adds what it was answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TripState {
    city: String,
    hotel: Option<Value>,
    flight: Option<Value>,
    ticket: Option<Value>,
    mailed: bool,
}

impl Saga for Trip {
    const NAME: &'static str = "trip";
    const VERSION: u32 = 1;
    type State = TripState;
    // This host keeps no table of its own. See `ApplyLocal` for one that does.
    type Local = NoLocal;
}

struct BookHotel(Arc<dyn Desk>);

#[async_trait]
impl Step<Trip> for BookHotel {
    const NAME: &'static str = "book_hotel";
    type Output = Value;

    async fn act(&self, state: &TripState, context: &StepContext) -> Outcome<Value> {
        self.0.book(context.key.clone(), &state.city).await
    }

    fn record(state: &mut TripState, booking: Value) {
        state.hotel = Some(booking);
    }
}

#[async_trait]
impl Compensable<Trip> for BookHotel {
    async fn compensate(&self, _state: &TripState, context: &StepContext) -> Undo {
        self.0.cancel(context.key.clone()).await
    }
}

struct BookFlight(Arc<dyn Desk>);

#[async_trait]
impl Step<Trip> for BookFlight {
    const NAME: &'static str = "book_flight";
    type Output = Value;

    async fn act(&self, state: &TripState, context: &StepContext) -> Outcome<Value> {
        self.0.book(context.key.clone(), &state.city).await
    }

    fn record(state: &mut TripState, booking: Value) {
        state.flight = Some(booking);
    }
}

#[async_trait]
impl Compensable<Trip> for BookFlight {
    async fn compensate(&self, _state: &TripState, context: &StepContext) -> Undo {
        self.0.cancel(context.key.clone()).await
    }
}

struct IssueTicket(Arc<dyn Desk>);

#[async_trait]
impl Step<Trip> for IssueTicket {
    const NAME: &'static str = "issue_ticket";
    type Output = Value;

    async fn act(&self, state: &TripState, context: &StepContext) -> Outcome<Value> {
        self.0.book(context.key.clone(), &state.city).await
    }

    fn record(state: &mut TripState, ticket: Value) {
        state.ticket = Some(ticket);
    }
}

#[async_trait]
impl Pivot<Trip> for IssueTicket {
    async fn close(&self, _state: &TripState, context: &StepContext) -> Closed<Value> {
        self.0.close(context.key.clone()).await
    }
}

struct SendMail(Arc<dyn Desk>);

#[async_trait]
impl Step<Trip> for SendMail {
    const NAME: &'static str = "send_mail";
    type Output = Value;

    async fn act(&self, state: &TripState, context: &StepContext) -> Outcome<Value> {
        self.0.book(context.key.clone(), &state.city).await
    }

    fn record(state: &mut TripState, _receipt: Value) {
        state.mailed = true;
    }
}

/// The saga as data: the order of its steps, the pivot, the limits.
pub fn trip(hotel: &Arc<dyn Desk>, airline: &Arc<dyn Desk>, post: &Arc<dyn Desk>) -> Definition<Trip> {
    let definition = Definition::builder()
        .parallel(|together| {
            together
                .step(BookHotel(Arc::clone(hotel)), Policy::default())
                .step(BookFlight(Arc::clone(airline)), Policy::default().timeout(Duration::from_secs(2)))
        })
        .pivot(IssueTicket(Arc::clone(airline)), Policy::default())
        // .step(…) does not compile here: after the pivot there is no way back.
        .retriable(SendMail(Arc::clone(post)), Policy::default())
        .build();
    match definition {
        Ok(definition) => definition,
        Err(error) => unreachable!("{error}"),
    }
}

// ---------------------------------------------------------------- 3. running it

type Outcomes = Result<(), Box<dyn std::error::Error>>;

fn new_trip(city: &str) -> NewSaga<Trip> {
    NewSaga {
        id: SagaId::new(RandomIds.next_id()),
        state: TripState { city: city.to_owned(), ..TripState::default() },
        subject: format!("a trip to {city}"),
        trace: TraceContext::none(),
    }
}

async fn desk(dir: &std::path::Path, name: &str, capacity: i64) -> Result<Arc<dyn Desk>, amends_sql::SqlError> {
    let url = format!("sqlite://{}?mode=rwc", dir.join(format!("{name}.db")).display());
    let database = Database::connect_lazy(&url, &Options::default())?;
    database.migrate(&participant::SCHEMA).await?;
    database.migrate(&BOOKINGS).await?;
    Ok(Arc::new(SqlDesk { barrier: Barrier::new(database.dialect()), database, capacity }))
}

/// The journal's process: start it, kill it, start it again.
async fn engine(
    dir: &std::path::Path,
    definition: Definition<Trip>,
) -> Result<Engine<SqlJournal<NothingLocal>>, amends_sql::SqlError> {
    let url = format!("sqlite://{}?mode=rwc", dir.join("journal.db").display());
    let database = Database::connect_lazy(&url, &Options::default())?;
    database.migrate(&SCHEMA).await?;
    Ok(Engine::builder(Arc::new(SqlJournal::new(database, NothingLocal))).register(definition).start())
}

async fn show(engine: &Engine<SqlJournal<NothingLocal>>, id: SagaId) -> Outcomes {
    let Some(timeline) = engine.timeline(id).await? else { return Err("no such saga".into()) };
    say(&format!("{}: {}", timeline.row.subject, timeline.status()));
    for entry in &timeline.entries {
        let why = entry.detail.as_deref().unwrap_or_default();
        say(&format!("  {:<13} {:<13} {:<9} {why}", entry.step, entry.phase.as_str(), entry.outcome.as_str()));
    }
    Ok(())
}

#[cfg_attr(not(test), expect(clippy::print_stdout, reason = "a tutorial talks"))]
fn say(line: &str) {
    println!("{line}");
}

/// A trip that works, one that is refused, and one whose orchestrator crashes.
pub async fn three_trips() -> Outcomes {
    let dir = tempfile::tempdir()?;
    let (hotel, airline, post) = (
        desk(dir.path(), "hotel", 2).await?,
        desk(dir.path(), "airline", 100).await?,
        desk(dir.path(), "post", 100).await?,
    );
    let first = engine(dir.path(), trip(&hotel, &airline, &post)).await?;
    let patience = Duration::from_secs(10);

    let handle = first.start(new_trip("Lisbon")).await?;
    let Waited::Settled(snapshot) = handle.settled(patience).await else { return Err("still running".into()) };
    assert_eq!(snapshot.status, Status::Completed);
    show(&first, handle.id()).await?;

    // The process dies right after the start was committed; the next one finds the saga in the journal.
    let handle = first.start(new_trip("Porto")).await?;
    first.kill();
    let second = engine(dir.path(), trip(&hotel, &airline, &post)).await?;
    let Waited::Settled(snapshot) = second.handle(handle.id()).settled(patience).await else {
        return Err("still running".into());
    };
    assert_eq!(snapshot.status, Status::Completed);
    show(&second, handle.id()).await?;

    // The hotel is full now: the flight is taken back.
    let handle = second.start(new_trip("Faro")).await?;
    let Waited::Settled(snapshot) = handle.settled(patience).await else { return Err("still running".into()) };
    assert_eq!(snapshot.status, Status::Unwound);
    show(&second, handle.id()).await?;
    second.drain(Duration::from_secs(1)).await;
    Ok(())
}

// ---------------------------------------------------------------- 4. everything that can go wrong

/// For the tests: participants in memory that know whether their books balance.
#[async_trait]
impl Desk for Books {
    async fn book(&self, key: StepKey, _what: &str) -> Outcome<Value> {
        self.act(key).await
    }

    async fn cancel(&self, key: StepKey) -> Undo {
        self.undo(key).await
    }

    async fn close(&self, key: StepKey) -> Closed<Value> {
        Books::close(self, key).await
    }
}

/// Each step, each attempt: refused, lost, late, repeated, panicking; and crashes before and after each entry of the journal. Returns how
/// many of them were survived. In virtual time, so it takes a moment.
///
/// # Errors
/// When the runtime cannot be made.
pub fn every_fault() -> Result<usize, std::io::Error> {
    let definition = |books: &Books| {
        let desk: Arc<dyn Desk> = Arc::new(books.clone());
        trip(&desk, &desk, &desk)
    };
    let faults = Fault::every(definition(&Books::default()).shape());
    let survived = faults.len();
    for fault in faults {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let (books, shown) = (Books::with_delay(Duration::from_millis(20)), fault.to_string());
            let journal = MemoryJournal::new(|local: &NoLocal, _now| match *local {});
            let new = new_trip("Lisbon");
            let ended = run_with(fault, definition(&books), journal, new.id, new.state).await;
            assert!(ended.status().is_finished(), "{shown}");
            assert_eq!(books.mistakes(), Vec::<String>::new(), "{shown}");
            let booked = books.in_effect(new.id).len();
            assert_eq!(booked, if ended.status() == Status::Completed { 4 } else { 0 }, "{shown}");
        });
    }
    Ok(survived)
}

fn main() -> Outcomes {
    tokio::runtime::Runtime::new()?.block_on(three_trips())?;
    say(&format!("and {} faults, each survived with balanced books", every_fault()?));
    Ok(())
}
