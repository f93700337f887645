//! The engine and the barrier on real databases: SQLite always, PostgreSQL where there is one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use amends_primitives::{IdSource, RandomIds, SagaId, StepKey, Timestamp};
use amends_sql::{Database, Dialect, Migration, Options, Schema, SqlError, Tx};
use amends_testing::TestDatabase;
use async_trait::async_trait;
use futures::future::join_all;
use serde_json::json;

use super::{
    databases,
    sample::{ALL, Note, Trip, TripState, trip},
};
use crate::{
    ApplyLocal, Engine, LocalOutcome, NewSaga, NothingLocal, Refusal, SCHEMA, SqlJournal, StartError, Status,
    TraceContext, Waited,
    event::{Event, Record},
    journal::{Append, Appended, DefinitionId, Journal, NewRow, ReplicaId, sql::audit},
    participant::{self, Barrier, BarrierError, BeginAction, BeginClose, BeginCompensation},
    testkit::Books,
};

const TRIPS: Schema = Schema {
    component: "trips",
    migrations: &[Migration {
        version: 1,
        description: "trips",
        postgres: None,
        sql: "CREATE TABLE trips (id TEXT NOT NULL PRIMARY KEY, status TEXT NOT NULL)",
    }],
};

pub(super) struct Trips;

#[async_trait]
impl ApplyLocal for Trips {
    type Local = Note;

    async fn apply_in_tx(
        &self,
        tx: &mut Tx,
        Note(id, status): &Note,
        _now: Timestamp,
    ) -> Result<LocalOutcome, SqlError> {
        let sql = "UPDATE trips SET status = $2 WHERE id = $1";
        let updated = sqlx::query(sql).bind(id.to_string()).bind((*status).to_owned()).execute(&mut **tx).await?;
        Ok(match updated.rows_affected() {
            1 => LocalOutcome::Applied,
            _ => LocalOutcome::Refused(Refusal::new("no_trip", "there is no such trip")),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("sql")]
    Sql(#[from] SqlError),
    #[error("start")]
    Start(#[from] StartError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error.into())
    }
}

pub(super) type Trip5 = Engine<SqlJournal<Trips>>;

pub(super) struct World {
    pub(super) database: Database,
    pub(super) books: Books,
}

impl World {
    pub(super) async fn new(database: Database) -> Self {
        for schema in [&SCHEMA, &TRIPS, &participant::SCHEMA] {
            database.migrate(schema).await.unwrap();
        }
        Self { database, books: Books::with_delay(Duration::from_millis(1)) }
    }

    async fn engine(&self) -> Trip5 {
        let journal = Arc::new(SqlJournal::new(self.database.clone(), Trips));
        let engine = Engine::builder(journal).register(trip(&self.books)).start();
        while !engine.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        engine
    }

    pub(super) async fn status(&self, id: SagaId) -> String {
        let sql = "SELECT status FROM trips WHERE id = $1";
        let (status,): (String,) =
            sqlx::query_as(sql).bind(id.to_string()).fetch_one(self.database.reader()).await.unwrap();
        status
    }

    async fn trips(&self) -> i64 {
        let (count,) = sqlx::query_as("SELECT COUNT(*) FROM trips").fetch_one(self.database.reader()).await.unwrap();
        count
    }
}

async fn insert_trip(tx: &mut Tx, id: SagaId) -> Result<(), SqlError> {
    let sql = "INSERT INTO trips (id, status) VALUES ($1, 'new')";
    sqlx::query(sql).bind(id.to_string()).execute(&mut **tx).await?;
    Ok(())
}

pub(super) fn new_trip() -> NewSaga<Trip> {
    let id = SagaId::new(RandomIds.next_id());
    NewSaga {
        id,
        state: TripState { id: Some(id), ..TripState::default() },
        subject: "a trip".into(),
        trace: TraceContext::none(),
    }
}

/// The host's row and the saga in one commit, which others share.
pub(super) async fn place(engine: &Trip5, new: NewSaga<Trip>) -> Result<crate::Handle, Failed> {
    let its_engine = engine.clone();
    let started = engine
        .journal()
        .transact(String::new(), move |tx| {
            Box::pin(async move {
                insert_trip(tx, new.id).await?;
                Ok::<_, Failed>(its_engine.start_in_tx(tx, new).await?)
            })
        })
        .await?;
    Ok(started.launch())
}

async fn on_each<F: AsyncFn(World)>(case: F) {
    databases::on_each(async |database| case(World::new(database).await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_happy_saga_costs_two_commits_alone_and_few_in_company() {
    on_each(async |world| {
        let engine = world.engine().await;
        let commits = || engine.journal().metrics().commits.get();

        let before = commits();
        let handle = place(&engine, new_trip()).await.unwrap();
        let Waited::Settled(snapshot) = handle.settled(Duration::from_secs(10)).await else { panic!("{handle:?}") };
        assert_eq!(snapshot.status, Status::Completed);
        assert_eq!(world.status(handle.id()).await, "confirmed");
        assert_eq!(commits() - before, 2);

        let before = commits();
        let placed = join_all((0..256).map(|_| async {
            let handle = place(&engine, new_trip()).await.unwrap();
            (handle.id(), handle.settled(Duration::from_secs(30)).await)
        }))
        .await;
        for (id, waited) in placed {
            assert!(matches!(waited, Waited::Settled(snapshot) if snapshot.status == Status::Completed));
            assert_eq!(world.books.in_effect(id), ALL);
        }
        let commits = commits() - before;
        assert!(commits < 128, "{commits} commits for 256 sagas");
        assert_eq!(engine.stats().await.unwrap().counts, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callers_failure_in_a_shared_transaction_is_only_its_own() {
    on_each(async |world| {
        let engine = world.engine().await;
        let twice = new_trip();
        let handle = place(&engine, twice.clone()).await.unwrap();
        let placed = join_all((0..40).map(|number| {
            let new = if number % 4 == 0 { twice.clone() } else { new_trip() };
            place(&engine, new)
        }))
        .await;
        for (number, placed) in placed.into_iter().enumerate() {
            match placed {
                Ok(handle) => {
                    assert_ne!(number % 4, 0);
                    assert!(matches!(handle.settled(Duration::from_secs(10)).await, Waited::Settled(_)));
                }
                Err(error) => {
                    assert!(number % 4 == 0 && matches!(error, Failed::Sql(SqlError::UniqueViolation(_))), "{error:?}");
                }
            }
        }
        assert!(matches!(handle.settled(Duration::from_secs(10)).await, Waited::Settled(_)));
        assert_eq!(world.books.mistakes(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_panics_fails_alone() {
    on_each(async |world| {
        let engine = world.engine().await;
        let panicking = || {
            engine.journal().transact(String::new(), move |tx| {
                Box::pin(async move {
                    insert_trip(tx, new_trip().id).await?;
                    panic!("on purpose")
                })
            })
        };
        let (panicked, placed): (Vec<Result<(), Failed>>, _) = futures::join!(
            join_all((0..8).map(|_| panicking())),
            join_all((0..32).map(|_| place(&engine, new_trip())))
        );
        assert!(panicked.iter().all(|told| matches!(told, Err(Failed::Sql(SqlError::Bug(_))))), "{panicked:?}");
        for handle in placed {
            assert!(matches!(handle.unwrap().settled(Duration::from_secs(10)).await, Waited::Settled(_)));
        }
        assert_eq!(world.trips().await, 32);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_the_database_refuses_is_refused_alone() {
    // SQLite keeps a text with a zero in it; PostgreSQL does not, and its refusal fails the whole statement and the transaction.
    let Some(own) = TestDatabase::postgres().await else { return };
    let world = World::new(own.open()).await;
    let engine = world.engine().await;
    let trips: Vec<_> = (0..40).map(|_| new_trip()).collect();
    let mut tx = world.database.begin().await.unwrap();
    for trip in &trips {
        insert_trip(&mut tx, trip.id).await.unwrap();
    }
    tx.commit().await.unwrap();
    let started = join_all(trips.into_iter().enumerate().map(|(number, trip)| {
        let subject = if number % 8 == 0 { "\0".to_owned() } else { format!("trip {number}") };
        engine.start(NewSaga { subject, ..trip })
    }))
    .await;
    for (number, started) in started.into_iter().enumerate() {
        match started {
            Ok(handle) => {
                assert_ne!(number % 8, 0);
                assert!(matches!(handle.settled(Duration::from_secs(10)).await, Waited::Settled(_)));
            }
            Err(error) => assert_eq!(number % 8, 0, "{error:?}"),
        }
    }
    assert_eq!(engine.stats().await.unwrap().counts, []);
}

/// An entry of a saga that goes on, and does nothing else.
fn running<L>(saga_id: SagaId, expected_seq: u64, owner: &ReplicaId, records: &[Record], at: Timestamp) -> Append<L> {
    Append {
        saga_id,
        expected_seq,
        fence: 1,
        owner: owner.clone(),
        records: records.to_vec(),
        status: Status::Running,
        step: None,
        failure: None,
        parked: None,
        wake_at: None,
        clears_request: false,
        releases: false,
        local: None,
        at,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_entry_is_not_written_and_a_repeated_one_once() {
    on_each(async |world| {
        let journal = SqlJournal::new(world.database.clone(), Trips);
        let (owner, at) = (ReplicaId::new("a"), Timestamp::from_millis(1_700_000_000_000));
        let definition = DefinitionId { name: "trip".into(), version: 1 };
        let ids: Vec<_> = (0..40).map(|_| SagaId::new(RandomIds.next_id())).collect();
        for id in &ids {
            let (subject, input, trace) = (String::new(), "{}".into(), TraceContext::none());
            let row =
                NewRow { id: *id, definition: definition.clone(), subject, input, trace, owner: owner.clone(), at };
            journal.start(&row).await.unwrap();
        }
        sqlx::query("UPDATE sagas SET request = '{'").execute(world.database.writer()).await.unwrap();
        let started = Event::StepStarted { step: "book".into(), attempt: 1 };
        let entry = |id: &SagaId| running(*id, 0, &owner, &[Record { at, event: started.clone() }], at);
        let told = join_all(ids.iter().map(|id| journal.append(Arc::new(entry(id))))).await;
        assert!(told.iter().all(Result::is_err), "{told:?}");
        let (moved,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM sagas WHERE seq <> 0")
            .fetch_one(world.database.reader())
            .await
            .unwrap();
        assert_eq!(moved, 0);

        // Readable again, each is written once, however often it is asked for in one batch.
        sqlx::query("UPDATE sagas SET request = NULL").execute(world.database.writer()).await.unwrap();
        let twice = ids.iter().chain(&ids).map(|id| journal.append(Arc::new(entry(id))));
        for told in join_all(twice).await {
            assert_eq!(told.unwrap(), Appended::Written(None));
        }
        let (sagas, entries): (i64, i64) = sqlx::query_as("SELECT COUNT(DISTINCT saga_id), COUNT(*) FROM saga_events")
            .fetch_one(world.database.reader())
            .await
            .unwrap();
        assert_eq!((sagas, entries), (40, 40));
    })
    .await;
}

/// A saga's first entry goes into its row, later ones into a table. An older version had all of them in the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_read_wherever_they_are() {
    databases::on_each(async |database| {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let old = Schema { component: SCHEMA.component, migrations: &SCHEMA.migrations[..1] };
        database.migrate(&old).await.unwrap();
        let started = |attempt| Record { at, event: Event::StepStarted { step: "reserve".into(), attempt } };
        let records = [1, 2, 3].map(started);
        let old_id = SagaId::new(RandomIds.next_id());
        let row = format!(
            "INSERT INTO sagas (id, definition, version, subject, status, input, seq, fence, owner, created_at, updated_at)
             VALUES ('{old_id}', 'trip', 1, 'old', 'running', '{{}}', 3, 1, 'dead', 1, 1)"
        );
        let entry = |seq: usize, records: &[Record]| {
            let events = serde_json::to_string(records).unwrap();
            format!("INSERT INTO saga_events VALUES ('{old_id}', {seq}, '{events}')")
        };
        for sql in [row, entry(3, &records[2..]), entry(1, &records[..2])] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
        }
        database.migrate(&SCHEMA).await.unwrap();

        let journal = SqlJournal::new(database.clone(), NothingLocal);
        let new_id = SagaId::new(RandomIds.next_id());
        let (definition, owner) = (DefinitionId { name: "trip".into(), version: 1 }, ReplicaId::new("dead"));
        let (subject, trace) = ("new".to_owned(), TraceContext::none());
        let row =
            NewRow { id: new_id, definition: definition.clone(), subject, input: "{}".into(), trace, owner: owner.clone(), at };
        journal.start(&row).await.unwrap();
        // Without events it is no entry, and the next is still the first.
        let entries =
            [(new_id, 0, &records[..0]), (new_id, 0, &records[..2]), (new_id, 2, &records[2..]), (old_id, 3, &records[..1])];
        for (id, seq, records) in entries {
            let appended = journal.append(Arc::new(running(id, seq, &owner, records, at))).await.unwrap();
            assert_eq!(appended, Appended::Written(None));
        }
        let count = async |table: &str| {
            let sql = format!("SELECT saga_id, seq FROM {table} ORDER BY seq");
            let rows: Vec<(String, i64)> =
                sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(database.reader()).await.unwrap();
            let of = |id: SagaId| rows.iter().filter(|row| row.0 == id.to_string()).map(|row| row.1).collect::<Vec<_>>();
            (of(old_id), of(new_id))
        };
        assert_eq!(count("saga_entries").await, (vec![1, 3, 4], vec![3]));
        assert_eq!(count("saga_events").await, (vec![1, 3, 4], vec![1, 3]));

        let old_records = [&records[..], &records[..1]].concat();
        for (id, expected) in [(old_id, &old_records[..]), (new_id, &records)] {
            assert_eq!(journal.load(id).await.unwrap().unwrap().records, expected);
            let journals = audit::journals_after(&database, "", 10).await.unwrap();
            let entries = &journals.iter().find(|journal| journal.id == id.to_string()).unwrap().entries;
            let stored = entries.iter().flat_map(|(_, text)| serde_json::from_str::<Vec<Record>>(text).unwrap());
            assert_eq!(stored.collect::<Vec<_>>(), expected);
        }
        let claimed = journal.claim(&ReplicaId::new("alive"), &[definition], 10, Timestamp::from_micros(i64::MAX), at).await;
        let lengths: HashSet<_> =
            claimed.unwrap().sagas.into_iter().map(|stored| (stored.row.id, stored.records.len())).collect();
        assert_eq!(lengths, HashSet::from([(old_id, 4), (new_id, 3)]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_saga_does_not_block_others() {
    on_each(async |world| {
        let journal = SqlJournal::new(world.database.clone(), Trips);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let definition = DefinitionId { name: "trip".into(), version: 1 };
        let mut ids = Vec::new();
        for subject in ["whole", "torn row", "torn first entry", "torn entry"] {
            let id = SagaId::new(RandomIds.next_id());
            let (owner, trace) = (ReplicaId::new("dead"), TraceContext::none());
            let definition = definition.clone();
            let row = NewRow { id, definition, subject: subject.into(), input: "{}".into(), trace, owner, at };
            journal.start(&row).await.unwrap();
            ids.push(id);
        }
        let entry = format!("INSERT INTO saga_entries (saga_id, seq, events) VALUES ('{}', 1, '[')", ids[3]);
        let first = "UPDATE sagas SET events = '[' WHERE subject = 'torn first entry'";
        for sql in ["UPDATE sagas SET failure = '{' WHERE subject = 'torn row'", first, &entry] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(world.database.writer()).await.unwrap();
        }

        let claimed = journal
            .claim(&ReplicaId::new("alive"), &[definition], 10, Timestamp::from_micros(i64::MAX), at)
            .await
            .unwrap();
        let whole: Vec<_> = claimed.sagas.iter().map(|stored| stored.row.id).collect();
        let torn: HashSet<_> = claimed.unreadable.iter().map(|(id, _)| *id).collect();
        assert_eq!((whole, torn), (vec![ids[0]], HashSet::from([ids[1], ids[2], ids[3]])));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_parked_saga_does_not_block_others() {
    on_each(async |world| {
        let engine = world.engine().await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            let handle = place(&engine, new_trip()).await.unwrap();
            assert!(matches!(handle.settled(Duration::from_secs(10)).await, Waited::Settled(_)));
            ids.push(handle.id());
        }
        engine.kill();
        let sql = "UPDATE sagas SET status = 'parked', parked = '{', request = '{'";
        sqlx::query(sql).execute(world.database.writer()).await.unwrap();
        // So few at once that each claim takes as many as it may.
        let (heartbeat, lease) = (Duration::from_millis(100), Duration::from_millis(300));
        let config = crate::Config { claim_max: 1, heartbeat, lease, ..crate::Config::default() };
        let journal = Arc::new(SqlJournal::new(world.database.clone(), Trips));
        let next = Engine::builder(journal).register(trip(&world.books)).config(config).start();
        let goes_on_beating = async {
            let sql = "SELECT beats FROM saga_replicas WHERE id = $1";
            let beats = async || {
                let query = sqlx::query_as(sql).bind(next.replica().as_str().to_owned());
                query.fetch_optional(world.database.reader()).await.unwrap().map_or(0, |(beats,): (i64,)| beats)
            };
            while beats().await < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), goes_on_beating).await.unwrap();
        let handle = place(&next, new_trip()).await.unwrap();
        assert!(matches!(handle.settled(Duration::from_secs(10)).await, Waited::Settled(_)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_end_parks_the_saga() {
    on_each(async |world| {
        let engine = world.engine().await;
        // Without a row of the host's: its last change is refused again and again.
        let mut new = new_trip();
        new.state.id = None;
        let handle = engine.start(new).await.unwrap();
        assert!(matches!(handle.settled(Duration::from_millis(1500)).await, Waited::Running(_)));
        let timeline = engine.timeline(handle.id()).await.unwrap().unwrap();
        let last = timeline.entries.last().unwrap();
        assert_eq!((last.step.as_str(), last.code.as_deref()), ("confirm", Some("no_trip")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_next_process_goes_on() {
    on_each(async |world| {
        let engine = world.engine().await;
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(place(&engine, new_trip()).await.unwrap().id());
        }
        engine.kill();
        let next = world.engine().await;
        for id in ids {
            let waited = next.handle(id).settled(Duration::from_secs(20)).await;
            assert!(
                matches!(waited, Waited::Settled(ref snapshot) if snapshot.status == Status::Completed),
                "{waited:?}"
            );
            assert_eq!(
                (world.books.in_effect(id), world.status(id).await.as_str()),
                (ALL.map(str::to_owned).to_vec(), "confirmed")
            );
        }
        assert_eq!(world.books.mistakes(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_barrier_keeps_its_table_in_sql() {
    on_each(async |world| {
        let (database, barrier) = (&world.database, Barrier::new(world.database.dialect()));
        let now = Timestamp::from_millis(1_700_000_000_000);
        let key = |step: &str| StepKey::parse("0198c0de-0000-7000-8000-000000000001", step).unwrap();
        let begin = async |tx: &mut Tx, step: &str, fingerprint: &str| {
            barrier.begin_action(tx, &key(step), fingerprint, now).await.unwrap()
        };
        let (yes, no) = (json!({"id": 1}), json!("no"));

        let mut tx = database.begin().await.unwrap();
        assert_eq!(begin(&mut tx, "done", "f").await, BeginAction::First);
        barrier.finish(&mut tx, &key("done"), &yes, now).await.unwrap();
        assert_eq!(begin(&mut tx, "refused", "f").await, BeginAction::First);
        barrier.refuse(&mut tx, &key("refused"), &no, now).await.unwrap();
        tx.commit().await.unwrap();

        // Rolled back, it is forgotten.
        let mut tx = database.begin().await.unwrap();
        assert_eq!(begin(&mut tx, "forgotten", "f").await, BeginAction::First);
        tx.rollback().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        assert_eq!(begin(&mut tx, "done", "f").await, BeginAction::Repeat(yes.clone()));
        assert_eq!(begin(&mut tx, "done", "g").await, BeginAction::Mismatch);
        assert_eq!(begin(&mut tx, "refused", "f").await, BeginAction::RepeatRefusal(no));
        assert_eq!(begin(&mut tx, "forgotten", "g").await, BeginAction::First);
        tx.rollback().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let close = async |tx: &mut Tx, step: &str| barrier.begin_close(tx, &key(step), now).await.unwrap();
        let undo = async |tx: &mut Tx, step: &str| barrier.begin_compensation(tx, &key(step), now).await.unwrap();
        assert_eq!(close(&mut tx, "done").await, BeginClose::WasDone(yes.clone()));
        assert_eq!(close(&mut tx, "refused").await, BeginClose::Closed);
        assert_eq!(close(&mut tx, "never").await, BeginClose::Closed);
        assert_eq!(close(&mut tx, "never").await, BeginClose::Closed);
        assert_eq!(undo(&mut tx, "done").await, BeginCompensation::WasDone(yes.clone()));
        assert_eq!(undo(&mut tx, "done").await, BeginCompensation::Already(Some(yes)));
        assert_eq!(undo(&mut tx, "hanging").await, BeginCompensation::NeverSeen);
        assert_eq!(undo(&mut tx, "hanging").await, BeginCompensation::Already(None));
        for late in ["done", "refused", "never", "hanging"] {
            assert_eq!(begin(&mut tx, late, "f").await, BeginAction::Compensated, "{late}");
        }
        tx.commit().await.unwrap();

        // What was put on record as done may turn out refused, but not what is over.
        let mut tx = database.begin().await.unwrap();
        let begun = barrier.act_at_once(&mut tx, &key("after_all"), "f", Ok(&json!({"id": 2})), now).await.unwrap();
        assert_eq!(begun, BeginAction::First);
        barrier.refuse_after_all(&mut tx, &key("after_all"), &json!("no"), now).await.unwrap();
        assert_eq!(begin(&mut tx, "after_all", "f").await, BeginAction::RepeatRefusal(json!("no")));
        for other in ["after_all", "done", "nothing"] {
            let error = barrier.refuse_after_all(&mut tx, &key(other), &json!("no"), now).await.unwrap_err();
            assert!(matches!(error, BarrierError::NotOpen(_)), "{other}");
        }
        tx.rollback().await.unwrap();

        // To finish what was not begun is a mistake, and so is not to finish.
        let mut tx = database.begin().await.unwrap();
        let error = barrier.finish(&mut tx, &key("nothing"), &json!(1), now).await.unwrap_err();
        assert!(matches!(error, BarrierError::NotOpen(_)));
        assert_eq!(begin(&mut tx, "open", "f").await, BeginAction::First);
        tx.commit().await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let error = barrier.begin_action(&mut tx, &key("open"), "f", now).await.unwrap_err();
        assert!(matches!(error, BarrierError::NotOpen(_)));
        assert_eq!(barrier.purge(&mut tx, now + Duration::from_secs(1), 3).await.unwrap(), 3);
        tx.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_twins_and_compensation_leave_at_most_one_effect() {
    on_each(async |world| {
        let (database, barrier) = (&world.database, Barrier::new(world.database.dialect()));
        let now = Timestamp::from_millis(1_700_000_000_000);
        let rounds = if database.dialect() == Dialect::Sqlite { 10 } else { 40 };
        for round in 0..rounds {
            let key = StepKey::parse("0198c0de-0000-7000-8000-000000000002", &format!("step_{round}")).unwrap();
            let act = async || {
                let mut tx = database.begin().await.unwrap();
                let begun = barrier.begin_action(&mut tx, &key, "f", now).await.unwrap();
                if begun == BeginAction::First {
                    barrier.finish(&mut tx, &key, &json!(round), now).await.unwrap();
                }
                tx.commit().await.unwrap();
                begun
            };
            let undo = async || {
                let mut tx = database.begin().await.unwrap();
                let begun = barrier.begin_compensation(&mut tx, &key, now).await.unwrap();
                tx.commit().await.unwrap();
                begun
            };
            let (one, two, three, undone) = futures::join!(act(), act(), act(), undo());
            let acts = [one, two, three];
            let firsts = acts.iter().filter(|act| **act == BeginAction::First).count();
            match undone {
                BeginCompensation::WasDone(answer) => assert_eq!((answer, firsts), (json!(round), 1), "{acts:?}"),
                BeginCompensation::NeverSeen => assert_eq!(firsts, 0, "{acts:?}"),
                BeginCompensation::Already(_) => panic!("compensated twice"),
            }
            assert_eq!(act().await, BeginAction::Compensated);
        }
    })
    .await;
}

/// As a process leaves it that is frozen in the middle of a batch: others pass over the rows it has locked, so they must be free when its
/// lease ends, which is at the least a lease less a heartbeat after the freeze.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_its_process_has_left_lets_go_of_its_rows() {
    let config = crate::Config::default();
    assert!(Options::default().idle_in_transaction_timeout + config.heartbeat <= config.lease);

    let Some(own) = TestDatabase::postgres().await else { return };
    let options = Options { idle_in_transaction_timeout: Duration::from_millis(500), ..Options::default() };
    let database = own.open_with(&options);
    database.migrate(&TRIPS).await.unwrap();
    sqlx::query("INSERT INTO trips (id, status) VALUES ('one', 'waiting')").execute(database.writer()).await.unwrap();
    let claim = "UPDATE trips SET status = 'claimed'";
    let mut left = database.begin().await.unwrap();
    sqlx::query(claim).execute(&mut *left).await.unwrap();

    let mut other = database.begin().await.unwrap();
    sqlx::query("SET LOCAL statement_timeout = 30000").execute(&mut *other).await.unwrap();
    assert_eq!(sqlx::query(claim).execute(&mut *other).await.unwrap().rows_affected(), 1);
    other.commit().await.unwrap();
    // A caller that comes back is told, and that a retry is worth it.
    let error = SqlError::from(sqlx::query(claim).execute(&mut *left).await.unwrap_err());
    assert!(error.is_transient(), "{error:?}");
}
