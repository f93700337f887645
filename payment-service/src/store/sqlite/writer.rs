//! Group commit: writes that wait for each other anyway (SQLite has one writer) share one transaction, and so one sync of the
//! disk. With nobody waiting, a write is committed at once.
//!
//! Must not know: what the writes mean.

use amends_sql::{Database, SqlError, Tx};
use tokio::sync::{mpsc, oneshot};

use super::{
    rows::{COLUMNS, PLACEHOLDERS, SWAP, bind_all, bind_swap},
    webhooks::put_in_tx,
};
use crate::store::{
    StoreError,
    document::{Document, EndingStateDocument, RefundStateDocument, StateFields},
};
use amends_webhooks::event::Outgoing;

/// Callers wait in this queue; when it is full they wait before it. Either way their own bound ends the wait.
const QUEUE_LEN_MAX: usize = 256;
/// More would make the first of a batch wait long for the last.
const BATCH_LEN_MAX: usize = 64;

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// A record, unless its key has one.
    Claim(Box<Document>),
    /// A payment, if its version is one less; and then what is to be told of it.
    Swap { next: Box<Document>, event: Option<Box<Outgoing>> },
    /// A line of the ledger, unless its key has one.
    OpenLine { key: String, version: i64, line: String },
    /// A line of the ledger, if its version is one less.
    ReplaceLine { key: String, version: i64, line: String },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Committed.
    Done,
    /// The condition did not hold: nothing was written.
    Lost,
}

type Answer = oneshot::Sender<Result<Written, StoreError>>;

/// Hands writes to the one task that writes. The task ends with the last clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<(Write, Answer)>,
    database: Database,
}

impl Writer {
    pub(super) fn start(database: Database) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(run(database.clone(), waiting));
        Self { queue, database }
    }

    /// Commits `write`. Cut short by its bound, it may or may not have happened.
    pub(super) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        self.database
            .bounded(async {
                let (answer, answered) = oneshot::channel();
                self.queue.send((write, answer)).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            })
            .await
    }
}

async fn run(database: Database, mut waiting: mpsc::Receiver<(Write, Answer)>) {
    let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
    while waiting.recv_many(&mut batch, BATCH_LEN_MAX).await > 0 {
        // Whose caller has gone away needs no write: it would be repeated under the same key anyway.
        batch.retain(|(_, answer)| !answer.is_closed());
        match commit(&database, &batch).await {
            Ok(written) => {
                for ((_, answer), written) in batch.drain(..).zip(written) {
                    // A caller whose bound has passed does not listen any more.
                    let _ = answer.send(Ok(written));
                }
            }
            Err(error) if error.is_transient() => {
                let message = error.to_string();
                for (_, answer) in batch.drain(..) {
                    let _ = answer.send(Err(StoreError::Unavailable(message.clone().into())));
                }
            }
            // One bad write must not fail its neighbours: each on its own, so that only the bad one hears of it.
            Err(_) if batch.len() > 1 => {
                for (write, answer) in batch.drain(..) {
                    let alone = [(write, answer)];
                    let result = commit(&database, &alone).await;
                    let [(_, answer)] = alone;
                    let _ = answer.send(result.map(|written| written.first().copied().unwrap_or(Written::Lost)));
                }
            }
            Err(error) => {
                if let Some((_, answer)) = batch.pop() {
                    let _ = answer.send(Err(error));
                }
            }
        }
    }
}

async fn commit(database: &Database, batch: &[(Write, Answer)]) -> Result<Vec<Written>, StoreError> {
    database
        .bounded(async {
            let mut tx = database.begin().await?;
            let mut written = Vec::with_capacity(batch.len());
            for (write, _) in batch {
                written.push(apply_in_tx(&mut tx, write).await?);
            }
            tx.commit().await.map_err(SqlError::from)?;
            Ok(written)
        })
        .await
}

async fn apply_in_tx(tx: &mut Tx, write: &Write) -> Result<Written, StoreError> {
    let rows = match write {
        Write::Claim(document) => {
            let sql =
                format!("INSERT INTO payments ({COLUMNS}) VALUES ({PLACEHOLDERS}) ON CONFLICT (step_key) DO NOTHING");
            bind_all(sqlx::query(sqlx::AssertSqlSafe(sql)), document)?.execute(&mut **tx).await
        }
        Write::Swap { next, event } => {
            let Some(state) = next.state.as_ref() else { return Err(StoreError::Corrupt { what: "payment" }) };
            let written = swap_in_tx(tx, next, state).await?;
            if let (Written::Done, Some(event)) = (written, event) {
                put_in_tx(tx, event).await?;
            }
            return Ok(written);
        }
        Write::OpenLine { key, version, line } => {
            let sql = "INSERT INTO simulated_processor (idempotency_key, version, line) VALUES ($1, $2, $3) \
                       ON CONFLICT (idempotency_key) DO NOTHING";
            sqlx::query(sql).bind(key.clone()).bind(*version).bind(line.clone()).execute(&mut **tx).await
        }
        Write::ReplaceLine { key, version, line } => {
            let sql = "UPDATE simulated_processor SET version = $2, line = $3 WHERE idempotency_key = $1 AND version = $2 - 1";
            sqlx::query(sql).bind(key.clone()).bind(*version).bind(line.clone()).execute(&mut **tx).await
        }
    };
    Ok(if rows.map_err(SqlError::from)?.rows_affected() == 1 { Written::Done } else { Written::Lost })
}

async fn swap_in_tx(tx: &mut Tx, document: &Document, state: &StateFields) -> Result<Written, StoreError> {
    let updated = bind_swap(sqlx::query(SWAP), document, state)?.execute(&mut **tx).await.map_err(SqlError::from)?;
    if updated.rows_affected() == 0 {
        return Ok(Written::Lost);
    }
    // A key is new only while what it names is pending: later swaps find their own.
    let refunds = state.refunds.iter().filter(|refund| refund.state == RefundStateDocument::Pending);
    let endings = state.hold.iter().flat_map(|hold| &hold.endings);
    let endings = endings.filter(|ending| ending.state == EndingStateDocument::Pending);
    let keys = refunds.map(|refund| ("refund", &refund.key)).chain(endings.map(|ending| ("ending", &ending.key)));
    for (kind, key) in keys {
        let sql = "INSERT INTO payment_effect_keys (kind, effect_key, step_key) VALUES ($1, $2, $3) \
                   ON CONFLICT (kind, effect_key) DO UPDATE SET step_key = excluded.step_key \
                   WHERE payment_effect_keys.step_key = excluded.step_key";
        let claimed = sqlx::query(sql)
            .bind(kind)
            .bind(key.clone())
            .bind(document.step_key.clone())
            .execute(&mut **tx)
            .await
            .map_err(SqlError::from)?;
        if claimed.rows_affected() == 0 {
            // The whole transaction is undone; its other writes are then tried without this one.
            return Err(StoreError::StepKeyTaken);
        }
    }
    Ok(Written::Done)
}
