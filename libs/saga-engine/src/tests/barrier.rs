//! The barrier's conformance suite on every store it is made for.
//!
//! `AMENDS_CONFORMANCE_ROUNDS` says how often; 2 where it is not set.
#![expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to look, and where")]

use amends_primitives::{RandomIds, StepKey, Timestamp};
use amends_sql::{Database, Migration, Schema, Tx};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::databases;
use crate::{
    participant::{Barrier, BeginAction, BeginClose, BeginCompensation, SCHEMA},
    testkit::barrier::{Answer, Participant, Undone, run},
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const EFFECTS: Schema = Schema {
    component: "effects",
    migrations: &[Migration {
        version: 1,
        description: "effects",
        postgres: None,
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
    /// It knows the answer before it takes the key.
    at_once: bool,
}

impl InSql {
    async fn begin(&self, tx: &mut Tx, key: &StepKey, request: u32, refused: bool) -> BeginAction {
        let (answer, fingerprint) = (json!({"for": request}), fingerprint(request));
        let begun = if self.at_once {
            let answer = if refused { Err(&answer) } else { Ok(&answer) };
            self.barrier.act_at_once(tx, key, &fingerprint, answer, NOW).await
        } else {
            self.barrier.begin_action(tx, key, &fingerprint, NOW).await
        };
        begun.unwrap()
    }

    async fn finish(&self, tx: &mut Tx, key: &StepKey, answer: &Value, refused: bool) {
        if self.at_once {
            return;
        }
        let kept = if refused {
            self.barrier.refuse(tx, key, answer, NOW).await
        } else {
            self.barrier.finish(tx, key, answer, NOW).await
        };
        kept.unwrap();
    }

    async fn change(tx: &mut Tx, key: &StepKey, change: i64) {
        let sql = "INSERT INTO effects (step_key, change) VALUES ($1, $2)";
        sqlx::query(sql).bind(key.to_string()).bind(change).execute(&mut **tx).await.unwrap();
    }
}

#[async_trait]
impl Participant for InSql {
    async fn act(&self, key: &StepKey, request: u32, refused: bool) -> Answer {
        let mut tx = self.database.begin().await.unwrap();
        let answer = json!({"for": request});
        let answer = match self.begin(&mut tx, key, request, refused).await {
            BeginAction::First if refused => {
                self.finish(&mut tx, key, &answer, refused).await;
                Answer::Refused(answer)
            }
            BeginAction::First => {
                Self::change(&mut tx, key, 1).await;
                self.finish(&mut tx, key, &answer, refused).await;
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

    async fn compensate(&self, key: &StepKey) -> Undone {
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

    async fn close(&self, key: &StepKey) -> Result<Option<Value>, ()> {
        let mut tx = self.database.begin().await.unwrap();
        let close = self.barrier.begin_close(&mut tx, key, NOW).await.unwrap();
        tx.commit().await.unwrap();
        Ok(match close {
            BeginClose::WasDone(answer) => Some(answer),
            BeginClose::Closed => None,
        })
    }

    async fn in_effect(&self, key: &StepKey) -> i64 {
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
        for at_once in [false, true] {
            run(&InSql { database: database.clone(), barrier, at_once }, &RandomIds, rounds()).await;
        }
    })
    .await;
}
