//! The barrier's conformance suite on every store it is made for.
//!
//! `AMENDS_CONFORMANCE_ROUNDS` says how often; 2 where it is not set.
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to look, and where")]

use std::sync::atomic::{AtomicU32, Ordering};

use amends_primitives::{RandomIds, Timestamp};
use amends_sql::{Database, Migration, Schema};
use async_trait::async_trait;
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
    options::{ClientOptions, WriteConcern},
};
use serde_json::{Value, json};

use super::databases;
use crate::{
    participant::{
        Acted, ActionKey, Barrier, BeginAction, BeginClose, BeginCompensation, DocumentBarrier, Ending, SCHEMA,
    },
    testkit::barrier::{Answer, Participant, Undone, run},
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const EFFECTS: Schema = Schema {
    component: "effects",
    migrations: &[Migration {
        version: 1,
        description: "effects",
        sql: "CREATE TABLE effects (step_key TEXT NOT NULL, change BIGINT NOT NULL)",
    }],
};

fn rounds() -> u32 {
    match std::env::var("AMENDS_CONFORMANCE_ROUNDS") {
        Ok(rounds) => rounds.parse::<std::num::NonZeroU32>().expect("AMENDS_CONFORMANCE_ROUNDS must be a number").get(),
        Err(_) => 2,
    }
}

fn fingerprint(request: u32) -> String {
    format!("request {request}")
}

/// Each effect is a row of its own, and undoing is a row more: what happened twice would show.
#[derive(Debug, Clone)]
struct InSql {
    database: Database,
    barrier: Barrier,
}

impl InSql {
    async fn change(tx: &mut amends_sql::Tx, key: &ActionKey, change: i64) {
        let sql = "INSERT INTO effects (step_key, change) VALUES ($1, $2)";
        sqlx::query(sql).bind(key.to_string()).bind(change).execute(&mut **tx).await.unwrap();
    }
}

#[async_trait]
impl Participant for InSql {
    async fn act(&self, key: &ActionKey, request: u32, refused: bool) -> Answer {
        let mut tx = self.database.begin().await.unwrap();
        let answer = json!({"for": request});
        let answer = match self.barrier.begin_action(&mut tx, key, &fingerprint(request), NOW).await.unwrap() {
            BeginAction::First if refused => {
                self.barrier.refuse(&mut tx, key, &answer, NOW).await.unwrap();
                Answer::Refused(answer)
            }
            BeginAction::First => {
                Self::change(&mut tx, key, 1).await;
                self.barrier.finish(&mut tx, key, &answer, NOW).await.unwrap();
                Answer::Done(answer)
            }
            BeginAction::Repeat(answer) => Answer::Done(answer),
            BeginAction::RepeatRefusal(answer) => Answer::Refused(answer),
            BeginAction::Compensated => Answer::Compensated,
            BeginAction::Mismatch => Answer::Mismatch,
        };
        tx.commit().await.unwrap();
        answer
    }

    async fn compensate(&self, key: &ActionKey) -> Undone {
        let mut tx = self.database.begin().await.unwrap();
        let undone = match self.barrier.begin_compensation(&mut tx, key, NOW).await.unwrap() {
            BeginCompensation::WasDone(_) => {
                Self::change(&mut tx, key, -1).await;
                Undone::Now
            }
            BeginCompensation::NeverSeen | BeginCompensation::Already(_) => Undone::Nothing,
        };
        tx.commit().await.unwrap();
        undone
    }

    async fn close(&self, key: &ActionKey) -> Result<Option<Value>, ()> {
        let mut tx = self.database.begin().await.unwrap();
        let close = self.barrier.begin_close(&mut tx, key, NOW).await.unwrap();
        tx.commit().await.unwrap();
        Ok(match close {
            BeginClose::WasDone(answer) => Some(answer),
            BeginClose::Closed => None,
        })
    }

    async fn in_effect(&self, key: &ActionKey) -> i64 {
        let sql = "SELECT CAST(COALESCE(SUM(change), 0) AS BIGINT) FROM effects WHERE step_key = $1";
        let (sum,): (i64,) = sqlx::query_as(sql).bind(key.to_string()).fetch_one(self.database.reader()).await.unwrap();
        sum
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_keeps_every_order_of_arrivals() {
    databases::on_each(async |database| {
        for schema in [&SCHEMA, &EFFECTS] {
            database.migrate(schema).await.unwrap();
        }
        let barrier = Barrier::new(database.dialect());
        run(&InSql { database, barrier }, &RandomIds, rounds()).await;
    })
    .await;
}

/// Each effect is the document itself.
#[derive(Debug, Clone)]
struct InMongo {
    collection: Collection<Document>,
    barrier: DocumentBarrier,
}

impl InMongo {
    /// In a database of its own, where there is a server.
    async fn fresh() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let uri = match std::env::var("AMENDS_TEST_MONGODB_URI") {
            Ok(uri) => uri,
            Err(_) if std::env::var("AMENDS_TEST_BACKENDS").as_deref() == Ok("embedded") => {
                eprintln!("SKIPPED mongodb: AMENDS_TEST_BACKENDS=embedded");
                return None;
            }
            Err(error) => panic!("AMENDS_TEST_MONGODB_URI is not set ({error}): run through `cargo xtask test`"),
        };
        let mut options = ClientOptions::parse(&uri).await.unwrap();
        options.write_concern = Some(WriteConcern::majority());
        let name = format!("barrier_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Client::with_options(options).unwrap().database(&name);
        // A process of the same number may have left one behind.
        database.drop().await.unwrap();
        let collection = database.collection("effects");
        let barrier = DocumentBarrier::new(collection.clone());
        barrier.migrate().await.unwrap();
        Some(Self { collection, barrier })
    }
}

#[async_trait]
impl Participant for InMongo {
    async fn act(&self, key: &ActionKey, request: u32, refused: bool) -> Answer {
        let answer = json!({"for": request});
        let ending = if refused {
            Ending::Refused { answer: answer.clone() }
        } else {
            Ending::Done { answer: answer.clone(), effect: doc! {"in_effect": 1_i64} }
        };
        match self.barrier.act(key, &fingerprint(request), ending, NOW).await.unwrap() {
            Acted::First if refused => Answer::Refused(answer),
            Acted::First => Answer::Done(answer),
            Acted::Repeat(answer) => Answer::Done(answer),
            Acted::RepeatRefusal(answer) => Answer::Refused(answer),
            Acted::Compensated => Answer::Compensated,
            Acted::Mismatch => Answer::Mismatch,
        }
    }

    async fn compensate(&self, key: &ActionKey) -> Undone {
        match self.barrier.compensate(key, doc! {"in_effect": 0_i64}, NOW).await.unwrap() {
            BeginCompensation::WasDone(_) => Undone::Now,
            BeginCompensation::NeverSeen | BeginCompensation::Already(_) => Undone::Nothing,
        }
    }

    async fn close(&self, key: &ActionKey) -> Result<Option<Value>, ()> {
        Ok(match self.barrier.close(key, NOW).await.unwrap() {
            BeginClose::WasDone(answer) => Some(answer),
            BeginClose::Closed => None,
        })
    }

    async fn in_effect(&self, key: &ActionKey) -> i64 {
        let found = self.collection.find_one(doc! {"_id": key.to_string()}).await.unwrap();
        found.map_or(0, |found| found.get_i64("in_effect").unwrap_or(0))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_keep_every_order_of_arrivals() {
    let Some(participant) = InMongo::fresh().await else { return };
    run(&participant, &RandomIds, rounds()).await;
}

#[tokio::test]
async fn a_document_forgets_only_what_had_no_effect() {
    let Some(participant) = InMongo::fresh().await else { return };
    let key = |step: &str| ActionKey::parse("0198c0de-0000-7000-8000-000000000001", step).unwrap();
    for (step, refused) in [("done", false), ("undone", false), ("refused", true)] {
        let _ = participant.act(&key(step), 1, refused).await;
    }
    for step in ["undone", "buried", "refused"] {
        let _ = participant.compensate(&key(step)).await;
    }
    let minute = std::time::Duration::from_mins(1);
    assert_eq!(participant.barrier.purge(NOW + minute, minute, 10).await.unwrap(), 0, "not older than a minute");
    let later = NOW + 2 * minute;
    assert_eq!(participant.barrier.purge(later, minute, 1).await.unwrap(), 1, "no more than asked");
    assert_eq!(participant.barrier.purge(later, minute, 10).await.unwrap(), 1);
    assert!(matches!(participant.act(&key("done"), 1, false).await, Answer::Done(_)));
    assert_eq!(participant.act(&key("undone"), 1, false).await, Answer::Compensated);
}

#[tokio::test]
async fn an_effect_may_not_overwrite_the_barrier() {
    let Some(participant) = InMongo::fresh().await else { return };
    let key = ActionKey::parse("0198c0de-0000-7000-8000-000000000001", "step").unwrap();
    for field in ["_id", "barrier", "barrier.state"] {
        let ending = Ending::Done { answer: json!(1), effect: doc! {field: 1} };
        participant.barrier.act(&key, "f", ending, NOW).await.unwrap_err();
        participant.barrier.compensate(&key, doc! {field: 1}, NOW).await.unwrap_err();
    }
    assert_eq!(participant.collection.count_documents(doc! {}).await.unwrap(), 0);
}
