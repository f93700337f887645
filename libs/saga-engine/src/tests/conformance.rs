//! All journals through the one suite.

use amends_primitives::Timestamp;
use amends_sql::{Database, Migration, Schema, SqlError, Tx};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

use crate::{
    ApplyLocal, LocalOutcome, Refusal, SCHEMA, SqlJournal,
    journal::{Journal, JournalError, NewRow},
    testkit::{
        MemoryJournal,
        conformance::{self, Backend, Probe},
    },
};
use amends_testing::TestDatabase;

#[derive(Debug, Default)]
struct Memory(Mutex<Vec<String>>);

#[derive(Debug)]
struct InMemory(Arc<Memory>);

#[async_trait]
impl Backend for InMemory {
    type Journal = MemoryJournal<Probe>;

    async fn fresh(&self) -> MemoryJournal<Probe> {
        let memory = Arc::clone(&self.0);
        memory.0.lock().clear();
        MemoryJournal::failing(move |probe: &Probe, _now: Timestamp| match probe {
            Probe::Note(text) => {
                memory.0.lock().push(text.clone());
                Ok(LocalOutcome::Applied)
            }
            Probe::Refuse(text) => Ok(LocalOutcome::Refused(Refusal::new("refused", text))),
            Probe::Fail(text) => Err(JournalError::Bug(text.clone().into())),
        })
    }

    async fn start_in_tx(
        &self,
        journal: &MemoryJournal<Probe>,
        saga: &NewRow,
        commit: bool,
    ) -> Result<(), JournalError> {
        let mut tx = journal.begin();
        journal.start_in_tx(&mut tx, saga).await?;
        if commit { tx.commit() } else { Ok(()) }
    }

    async fn set_clock(&self, journal: &MemoryJournal<Probe>, by_micros: i64) {
        let step = Duration::from_micros(by_micros.unsigned_abs());
        if by_micros < 0 { journal.clock().step_back(step) } else { journal.clock().step_forward(step) }
    }

    async fn notes(&self, _journal: &MemoryJournal<Probe>) -> Vec<String> {
        self.0.0.lock().clone()
    }
}

const PROBES: Schema = Schema {
    component: "probe",
    migrations: &[Migration {
        version: 1,
        description: "probe",
        postgres: None,
        sql: "CREATE TABLE probes (text TEXT NOT NULL, at BIGINT NOT NULL, CHECK (text <> 'impossible'))",
    }],
};

#[derive(Debug)]
struct Probes;

#[async_trait]
impl ApplyLocal for Probes {
    type Local = Probe;

    async fn apply_in_tx(&self, tx: &mut Tx, probe: &Probe, now: Timestamp) -> Result<LocalOutcome, SqlError> {
        let (Probe::Note(text) | Probe::Refuse(text) | Probe::Fail(text)) = probe;
        let insert = "INSERT INTO probes (text, at) VALUES ($1, $2)";
        sqlx::query(insert).bind(text.clone()).bind(now.as_micros()).execute(&mut **tx).await?;
        match probe {
            Probe::Note(_) => Ok(LocalOutcome::Applied),
            Probe::Refuse(_) => Ok(LocalOutcome::Refused(Refusal::new("refused", text))),
            Probe::Fail(_) => {
                sqlx::query(insert).bind("impossible").bind(0_i64).execute(&mut **tx).await?;
                Ok(LocalOutcome::Applied)
            }
        }
    }
}

async fn fresh(database: Database) -> SqlJournal<Probes> {
    for schema in [&SCHEMA, &PROBES] {
        database.migrate(schema).await.unwrap();
    }
    SqlJournal::new(database, Probes)
}

async fn start_in_tx(journal: &SqlJournal<Probes>, saga: &NewRow, commit: bool) -> Result<(), JournalError> {
    let mut tx = journal.database().begin().await?;
    journal.start_in_tx(&mut tx, saga).await?;
    if commit {
        tx.commit().await.map_err(SqlError::from)?;
    }
    Ok(())
}

/// The database's clock is the machine's. Seen from a lease it makes no difference which of the two is moved.
async fn set_clock(journal: &SqlJournal<Probes>, by_micros: i64) {
    let sql = "UPDATE saga_replicas SET expires_at = expires_at - $1";
    sqlx::query(sql).bind(by_micros).execute(journal.database().writer()).await.unwrap();
}

async fn notes(journal: &SqlJournal<Probes>) -> Vec<String> {
    let found: Vec<(String,)> =
        sqlx::query_as("SELECT text FROM probes").fetch_all(journal.database().reader()).await.unwrap();
    found.into_iter().map(|(text,)| text).collect()
}

#[derive(Debug, Default)]
struct OnSqlite(Mutex<Vec<TestDatabase>>);

#[async_trait]
impl Backend for OnSqlite {
    type Journal = SqlJournal<Probes>;

    async fn fresh(&self) -> SqlJournal<Probes> {
        let sqlite = TestDatabase::sqlite();
        let database = sqlite.open();
        self.0.lock().push(sqlite);
        fresh(database).await
    }

    async fn start_in_tx(&self, journal: &SqlJournal<Probes>, saga: &NewRow, commit: bool) -> Result<(), JournalError> {
        start_in_tx(journal, saga, commit).await
    }

    async fn set_clock(&self, journal: &SqlJournal<Probes>, by_micros: i64) {
        set_clock(journal, by_micros).await;
    }

    async fn notes(&self, journal: &SqlJournal<Probes>) -> Vec<String> {
        notes(journal).await
    }
}

#[derive(Debug)]
struct OnPostgres;

#[async_trait]
impl Backend for OnPostgres {
    type Journal = SqlJournal<Probes>;

    async fn fresh(&self) -> SqlJournal<Probes> {
        fresh(TestDatabase::postgres().await.expect("a server").open()).await
    }

    async fn start_in_tx(&self, journal: &SqlJournal<Probes>, saga: &NewRow, commit: bool) -> Result<(), JournalError> {
        start_in_tx(journal, saga, commit).await
    }

    async fn set_clock(&self, journal: &SqlJournal<Probes>, by_micros: i64) {
        set_clock(journal, by_micros).await;
    }

    async fn notes(&self, journal: &SqlJournal<Probes>) -> Vec<String> {
        notes(journal).await
    }
}

#[tokio::test]
async fn in_memory() {
    conformance::run(&InMemory(Arc::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    conformance::run(&OnSqlite::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    if amends_testing::postgres().is_some() {
        conformance::run(&OnPostgres).await;
    }
}
