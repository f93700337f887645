//! The barrier in SQL, inside the participant's own transaction: the key's record and the effect commit together or not at all.
//!
//! The first arrival inserts the record and holds its row until it commits; a twin waits for that on the unique index.

use amends_primitives::{StepKey, Timestamp};
use amends_sql::{Dialect, Migration, Schema, SqlError, Tx};
use serde_json::Value;

use super::decide::{self, Record};

/// The barrier's table. Run its migrations in the participant's own database, beside the participant's.
pub const SCHEMA: Schema = Schema {
    component: "saga_barrier",
    migrations: &[
        Migration {
            version: 1,
            description: "barrier",
            postgres: None,
            // `state` is open while the transaction that performs the action is not committed; no other transaction ever sees it.
            sql: "CREATE TABLE saga_barrier (
            step_key TEXT NOT NULL PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused', 'tombstone')),
            fingerprint TEXT,
            answer TEXT,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        },
        Migration {
            version: 2,
            description: "retention",
            postgres: None,
            sql: "CREATE INDEX saga_barrier_updated ON saga_barrier (updated_at)",
        },
        Migration {
            version: 3,
            description: "one b-tree",
            // A key is found by itself alone and its record is small: without a rowid, SQLite writes one b-tree instead of two.
            sql: "CREATE TABLE saga_barrier_3 (
            step_key TEXT NOT NULL PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused', 'tombstone')),
            fingerprint TEXT,
            answer TEXT,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO saga_barrier_3 (step_key, state, fingerprint, answer, created_at, updated_at)
            SELECT step_key, state, fingerprint, answer, created_at, updated_at FROM saga_barrier ORDER BY step_key;
        DROP TABLE saga_barrier;
        ALTER TABLE saga_barrier_3 RENAME TO saga_barrier;
        CREATE INDEX saga_barrier_updated ON saga_barrier (updated_at)",
            postgres: Some(""),
        },
    ],
};

/// The keys that nothing was done under for longest, at most `$2` of them, if since before `$1`. In the order of
/// `saga_barrier_updated`; replicas that purge at the same time pass over each other's, and over keys in use.
pub(crate) fn oldest(dialect: Dialect) -> String {
    let skip = dialect.for_update_skip_locked();
    format!("SELECT step_key FROM saga_barrier WHERE updated_at < $1 ORDER BY updated_at LIMIT $2{skip}")
}

/// The barrier of one database.
#[derive(Debug, Clone, Copy)]
pub struct Barrier {
    dialect: Dialect,
}

/// What to do about an action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BeginAction {
    /// Perform it in this transaction, then call [`Barrier::finish`] or [`Barrier::refuse`], then commit. Rolling back forgets the
    /// call: it may then be answered otherwise when repeated.
    First,
    /// It was performed: answer the same again.
    Repeat(Value),
    /// It was refused: refuse the same again.
    RepeatRefusal(Value),
    /// It was compensated or closed before: refuse it for good.
    Compensated,
    /// The key was used for another request: refuse it.
    Mismatch,
}

/// What to do about a compensation. In each case: commit, then answer success.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BeginCompensation {
    /// The action took effect with this answer: undo that in this transaction. The tombstone is written.
    WasDone(Value),
    /// The key was never seen, or its action was refused: the tombstone is written, there is nothing to undo.
    NeverSeen,
    /// It was compensated before. Holds the action's answer, if it ever took effect.
    Already(Option<Value>),
}

/// What to answer to closing a pivot. In each case: commit first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BeginClose {
    /// The pivot took effect with this answer; the saga must go forward.
    WasDone(Value),
    /// It had no effect and never will.
    Closed,
}

/// Why the barrier could not decide.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    /// The database failed.
    #[error("the barrier's table cannot be used")]
    Sql(#[source] SqlError),
    /// [`Barrier::finish`] or [`Barrier::refuse`] was called without [`BeginAction::First`] in the same transaction, or neither was
    /// called before the commit: a mistake of the participant.
    #[error("the action {0} was not finished in the transaction that began it")]
    NotOpen(String),
}

impl From<SqlError> for BarrierError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<sqlx::Error> for BarrierError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl Barrier {
    /// The barrier of a database of this dialect.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }

    /// An action arrives. `fingerprint` is a digest of what is asked for, without what may differ between attempts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_action(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<BeginAction, BarrierError> {
        self.insert_action(tx, key, "open", fingerprint, None, now).await
    }

    /// An action arrives, and what becomes of it is decided already, from what was only read: [`begin_action`](Self::begin_action) and
    /// [`finish`](Self::finish) or [`refuse`](Self::refuse) in one statement. [`First`](BeginAction::First): `answer` is on record; write
    /// the effect, if it is one, and commit. Otherwise nothing may be written.
    ///
    /// What was read before must be locked, or looked at again by what writes the effect: it may have changed while this waited for a
    /// twin. And whatever locks it must come before the key everywhere, or after it everywhere.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn act_at_once(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        fingerprint: &str,
        answer: Result<&Value, &Value>,
        now: Timestamp,
    ) -> Result<BeginAction, BarrierError> {
        let (state, answer) = match answer {
            Ok(done) => ("done", done),
            Err(refused) => ("refused", refused),
        };
        self.insert_action(tx, key, state, fingerprint, Some(answer), now).await
    }

    /// The action was performed in this transaction; `answer` is what repeats will be answered.
    ///
    /// # Errors
    /// When the database fails, or the action was not begun in this transaction.
    pub async fn finish(&self, tx: &mut Tx, key: &StepKey, answer: &Value, now: Timestamp) -> Result<(), BarrierError> {
        self.settle(tx, key, "open", "done", answer, now).await
    }

    /// The action was refused, without an effect; `answer` is what repeats will be answered. Commit it: a refusal that is not
    /// remembered may turn into a yes when the network repeats the call.
    ///
    /// # Errors
    /// When the database fails, or the action was not begun in this transaction.
    pub async fn refuse(&self, tx: &mut Tx, key: &StepKey, answer: &Value, now: Timestamp) -> Result<(), BarrierError> {
        self.settle(tx, key, "open", "refused", answer, now).await
    }

    /// An action that this transaction has put on record as done, by [`act_at_once`](Self::act_at_once), turned out to be refused: its
    /// effect was not written, and `answer` is what repeats will be answered.
    ///
    /// # Errors
    /// When the database fails, or the action is not on record as done.
    pub async fn refuse_after_all(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        answer: &Value,
        now: Timestamp,
    ) -> Result<(), BarrierError> {
        self.settle(tx, key, "done", "refused", answer, now).await
    }

    /// A compensation arrives.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_compensation(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        now: Timestamp,
    ) -> Result<BeginCompensation, BarrierError> {
        // Nearly always there is something to undo. Of an action whose transaction is still open this sees nothing, and the insert waits.
        if let Some(answer) = self.bury_done(tx, key, now).await? {
            return Ok(BeginCompensation::WasDone(answer));
        }
        if self.insert(tx, key, "tombstone", None, None, now).await? {
            return Ok(BeginCompensation::NeverSeen);
        }
        let existing = self.existing(tx, key).await?;
        Ok(match decide::compensation(Some(&existing)) {
            decide::Compensation::Undo(answer) => {
                self.leave_tombstone(tx, key, false, now).await?;
                BeginCompensation::WasDone(answer)
            }
            decide::Compensation::Bury => {
                self.leave_tombstone(tx, key, true, now).await?;
                BeginCompensation::NeverSeen
            }
            decide::Compensation::Already(answer) => BeginCompensation::Already(answer),
        })
    }

    /// A close of a pivot arrives.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_close(&self, tx: &mut Tx, key: &StepKey, now: Timestamp) -> Result<BeginClose, BarrierError> {
        if self.insert(tx, key, "tombstone", None, None, now).await? {
            return Ok(BeginClose::Closed);
        }
        let existing = self.existing(tx, key).await?;
        Ok(match decide::close(Some(&existing)) {
            decide::Close::WasDone(answer) => BeginClose::WasDone(answer),
            decide::Close::Bury => {
                self.leave_tombstone(tx, key, true, now).await?;
                BeginClose::Closed
            }
            decide::Close::Already => BeginClose::Closed,
        })
    }

    /// Forgets keys under which nothing was done since `before`, at most `limit` of them, the oldest first; returns how many. Call it
    /// again while it returns `limit`, in a transaction each, so that it never holds the table for long.
    ///
    /// **Forgetting a key makes a call under it a first one again**: a late action takes effect although it was compensated, a late
    /// compensation finds nothing to undo and answers success. So the age must exceed, together,
    /// - the longest time between two calls of one saga: its deadline, all its retries, and for as long as a human leaves it *parked*;
    ///   an operator may have a saga of last month retried, and what it then compensates must still be on record;
    /// - the longest time a message may be under way: what gateways, queues and clients between the two repeat or hold back;
    /// - how far the clocks of this participant's replicas may be apart.
    ///
    /// Ninety days suit most: alert on sagas that are parked for a day (`amends saga list --state parked` shows them), and settle
    /// them long before. Repeats of a call do not make a key younger; only what changes its record does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge(&self, tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64, BarrierError> {
        let sql = format!("DELETE FROM saga_barrier WHERE step_key IN ({})", oldest(self.dialect));
        let deleted = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await?;
        Ok(deleted.rows_affected())
    }

    /// Keeps an action's record, if the key is new; otherwise says what to do about the one that is there.
    async fn insert_action(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        state: &'static str,
        fingerprint: &str,
        answer: Option<&Value>,
        now: Timestamp,
    ) -> Result<BeginAction, BarrierError> {
        if self.insert(tx, key, state, Some(fingerprint), answer, now).await? {
            return Ok(BeginAction::First);
        }
        let existing = self.existing(tx, key).await?;
        Ok(match decide::action(Some(&existing), fingerprint) {
            decide::Action::Perform => BeginAction::First,
            decide::Action::Repeat(answer) => BeginAction::Repeat(answer),
            decide::Action::RepeatRefusal(answer) => BeginAction::RepeatRefusal(answer),
            decide::Action::Compensated => BeginAction::Compensated,
            decide::Action::Mismatch => BeginAction::Mismatch,
        })
    }

    /// Whether the key was new. Waits for a twin that holds the key in an open transaction.
    async fn insert(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        state: &'static str,
        fingerprint: Option<&str>,
        answer: Option<&Value>,
        now: Timestamp,
    ) -> Result<bool, BarrierError> {
        let sql = "INSERT INTO saga_barrier (step_key, state, fingerprint, answer, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (step_key) DO NOTHING";
        let inserted = sqlx::query(sql)
            .bind(key.to_string())
            .bind(state)
            .bind(fingerprint.map(str::to_owned))
            .bind(answer.map(Value::to_string))
            .bind(now.as_micros())
            .execute(&mut **tx)
            .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn existing(&self, tx: &mut Tx, key: &StepKey) -> Result<Record, BarrierError> {
        let sql = format!(
            "SELECT state, fingerprint, answer FROM saga_barrier WHERE step_key = $1{}",
            self.dialect.for_update()
        );
        let (state, fingerprint, answer): (String, Option<String>, Option<String>) =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(key.to_string()).fetch_one(&mut **tx).await?;
        let answer = match answer.as_deref().map(serde_json::from_str::<Value>) {
            None => None,
            Some(Ok(answer)) => Some(answer),
            Some(Err(_)) => return Err(SqlError::Corrupt { what: "saga_barrier.answer" }.into()),
        };
        match (state.as_str(), fingerprint, answer) {
            ("done", Some(fingerprint), Some(answer)) => Ok(Record::Done { fingerprint, answer }),
            ("refused", Some(fingerprint), Some(answer)) => Ok(Record::Refused { fingerprint, answer }),
            ("tombstone", _, answer) => Ok(Record::Tombstone { answer }),
            ("open", _, _) => Err(BarrierError::NotOpen(key.to_string())),
            _ => Err(SqlError::Corrupt { what: "saga_barrier" }.into()),
        }
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        from: &'static str,
        state: &'static str,
        answer: &Value,
        now: Timestamp,
    ) -> Result<(), BarrierError> {
        let sql = "UPDATE saga_barrier SET state = $2, answer = $3, updated_at = $4 WHERE step_key = $1 AND state = $5";
        let updated = sqlx::query(sql)
            .bind(key.to_string())
            .bind(state)
            .bind(answer.to_string())
            .bind(now.as_micros())
            .bind(from)
            .execute(&mut **tx)
            .await?;
        if updated.rows_affected() == 1 { Ok(()) } else { Err(BarrierError::NotOpen(key.to_string())) }
    }

    /// Leaves a tombstone where an action is done; returns what it had answered.
    async fn bury_done(&self, tx: &mut Tx, key: &StepKey, now: Timestamp) -> Result<Option<Value>, BarrierError> {
        let sql = "UPDATE saga_barrier SET state = 'tombstone', updated_at = $2
            WHERE step_key = $1 AND state = 'done' AND answer IS NOT NULL RETURNING answer";
        let buried: Option<String> =
            sqlx::query_scalar(sql).bind(key.to_string()).bind(now.as_micros()).fetch_optional(&mut **tx).await?;
        let read = |answer: String| serde_json::from_str(&answer);
        buried.map(read).transpose().map_err(|_| SqlError::Corrupt { what: "saga_barrier.answer" }.into())
    }

    /// A refusal's answer is not kept: a tombstone with an answer means that the action once took effect.
    async fn leave_tombstone(
        &self,
        tx: &mut Tx,
        key: &StepKey,
        drop_answer: bool,
        now: Timestamp,
    ) -> Result<(), BarrierError> {
        let sql = if drop_answer {
            "UPDATE saga_barrier SET state = 'tombstone', answer = NULL, updated_at = $2 WHERE step_key = $1"
        } else {
            "UPDATE saga_barrier SET state = 'tombstone', updated_at = $2 WHERE step_key = $1"
        };
        sqlx::query(sql).bind(key.to_string()).bind(now.as_micros()).execute(&mut **tx).await?;
        Ok(())
    }
}
