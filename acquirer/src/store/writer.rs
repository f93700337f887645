//! Group commit of the ledger's writes: each line together with what moved, and those that wait at the same time in one transaction
//! (`amends_sql::group`).
//!
//! Must not know: when a line may change.

use std::sync::Arc;

use amends_primitives::{Clock, Timestamp};
use amends_sql::{
    SqlError, Tx,
    group::{Asked, BatchWriter},
};

use crate::{
    domain::{Entry, Movement},
    ledger::LedgerError,
};

/// One write, which answers whether its condition held.
pub(super) type Job = Asked<Write, bool, LedgerError>;

/// A line, and the statement that writes it under a condition: `$1` is the key, `$2` the version, `$3` the line.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) sql: &'static str,
    pub(super) entry: Entry,
    pub(super) line: String,
}

/// Writes lines and movements.
pub(super) struct Statements(pub(super) Arc<dyn Clock>);

impl BatchWriter for Statements {
    type Job = Job;

    async fn one(&self, tx: &mut Tx, job: &mut Job) -> Result<bool, SqlError> {
        let Write { sql, entry, line } = &job.what;
        let query = sqlx::query(*sql).bind(entry.key.to_string()).bind(entry.version).bind(line.clone());
        let written = query.execute(&mut **tx).await?.rows_affected() == 1;
        if written && let Some(movement) = entry.newest_movement() {
            post_in_tx(tx, movement, self.0.now()).await?;
        }
        job.reply.keep(Ok(written));
        Ok(true)
    }
}

/// Adds a movement to the statement.
pub(super) async fn post_in_tx(tx: &mut Tx, movement: Movement, at: Timestamp) -> Result<(), SqlError> {
    // One writer: the next number is given once.
    let sql = "INSERT INTO acquirer_movements \
               (seq, at, kind, idempotency_key, charge_key, amount_minor, currency, receipt) \
               SELECT COALESCE(MAX(seq), 0) + 1, $1, $2, $3, $4, $5, $6, $7 FROM acquirer_movements";
    sqlx::query(sql)
        .bind(at.as_micros())
        .bind(movement.kind.name())
        .bind(movement.key.to_string())
        .bind(movement.charge.to_string())
        .bind(movement.amount.amount_minor())
        .bind(movement.amount.currency().code())
        .bind(movement.receipt)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
