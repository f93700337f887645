//! Group commit of the payments' writes: those that wait at the same time share one transaction (`amends_sql::group`).
//!
//! Must not know: what the writes mean.

use amends_sql::{
    Database, SqlError, Tx,
    group::{Asked, BatchWriter, GroupCommit},
};

use super::{failed::Failed, rows, webhooks::put_in_tx};
use crate::store::{
    StoreError,
    document::{Document, RefundStateDocument, SettlementStateDocument, StateFields},
};
use amends_webhooks::event::Outgoing;

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// A record, unless its key has one.
    Claim(Box<Document>),
    /// A payment, if its version is one less; and then what is to be told of it.
    Swap { next: Box<Document>, event: Option<Box<Outgoing>> },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Committed.
    Done,
    /// The condition did not hold: nothing was written.
    Lost,
}

/// The writes of one database, each committed with those that wait at the same time.
#[derive(Clone)]
pub(super) struct Writer {
    group: GroupCommit<Asked<Write, Written, StoreError>>,
    database: Database,
}

impl Writer {
    pub(super) fn start(database: Database) -> Self {
        Self { group: GroupCommit::start(database.clone(), Statements), database }
    }

    /// Commits `write`. Cut short by its bound, it may or may not have happened.
    pub(super) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.database.bounded(self.group.submit(|reply| Asked::new(write, reply))).await
    }
}

struct Statements;

impl BatchWriter for Statements {
    type Job = Asked<Write, Written, StoreError>;

    async fn one(&self, tx: &mut Tx, job: &mut Self::Job) -> Result<bool, SqlError> {
        let written = match apply_in_tx(tx, &job.what).await {
            Err(Failed::Database(error)) => return Err(error),
            Err(Failed::Write(error)) => Err(error),
            Ok(written) => Ok(written),
        };
        let keep = written.is_ok();
        job.reply.keep(written);
        Ok(keep)
    }
}

async fn apply_in_tx(tx: &mut Tx, write: &Write) -> Result<Written, Failed> {
    let rows = match write {
        Write::Claim(document) => rows::insert(document)?.execute(&mut **tx).await,
        Write::Swap { next, event } => {
            let Some(state) = next.state.as_ref() else { return Err(StoreError::Corrupt { what: "payment" }.into()) };
            let written = swap_in_tx(tx, next, state).await?;
            if let (Written::Done, Some(event)) = (written, event) {
                put_in_tx(tx, event).await?;
            }
            return Ok(written);
        }
    };
    Ok(if rows?.rows_affected() == 1 { Written::Done } else { Written::Lost })
}

async fn swap_in_tx(tx: &mut Tx, document: &Document, state: &StateFields) -> Result<Written, Failed> {
    let updated = rows::swap(document)?.execute(&mut **tx).await?;
    if updated.rows_affected() == 0 {
        return Ok(Written::Lost);
    }
    // A key is new only while what it names is pending: later swaps find their own.
    let refunds = state.refunds.iter().filter(|refund| refund.state == RefundStateDocument::Pending);
    let endings = state.hold.iter().flat_map(|hold| &hold.endings);
    let endings = endings.filter(|ending| ending.state == SettlementStateDocument::Pending);
    let keys = refunds.map(|refund| ("refund", &refund.key)).chain(endings.map(|ending| ("ending", &ending.key)));
    for (kind, key) in keys {
        let sql = "INSERT INTO payment_effect_keys (kind, effect_key, step_key) VALUES ($1, $2, $3) \
                   ON CONFLICT (kind, effect_key) DO UPDATE SET step_key = excluded.step_key \
                   WHERE payment_effect_keys.step_key = excluded.step_key";
        let claimed =
            sqlx::query(sql).bind(kind).bind(key.clone()).bind(document.step_key.clone()).execute(&mut **tx).await?;
        if claimed.rows_affected() == 0 {
            return Err(StoreError::StepKeyTaken.into());
        }
    }
    Ok(Written::Done)
}
