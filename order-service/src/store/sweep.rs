//! Keeps the store bounded: expired idempotency keys and old events go, a batch at a time.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::ports::Swept;

/// One sweep holds SQLite's only writer for a few milliseconds at most.
const BATCH: i64 = 500;

pub(super) async fn sweep(database: &Database, now: Timestamp, events_before: Timestamp) -> Result<Swept, SqlError> {
    // A key whose order is still in motion stays, however old: a parked order must not be placed a second time.
    let keys = sqlx::query(
        "UPDATE orders SET key_fingerprint = NULL, key_expires_at = NULL WHERE id IN (
            SELECT id FROM orders WHERE key_expires_at <= $1 AND status <> 'pending' ORDER BY key_expires_at LIMIT $2)",
    )
    .bind(now.as_micros())
    .bind(BATCH)
    .execute(database.writer())
    .await?
    .rows_affected();
    // Events go together, once the last of them is old enough.
    let events = sqlx::query(
        "UPDATE orders SET events = NULL WHERE id IN (
            SELECT id FROM orders WHERE events IS NOT NULL AND updated_at < $1 ORDER BY updated_at LIMIT $2)",
    )
    .bind(events_before.as_micros())
    .bind(BATCH)
    .execute(database.writer())
    .await?
    .rows_affected();
    Ok(Swept { keys, events, may_have_more: keys.max(events) >= BATCH.unsigned_abs() })
}
