//! Keeps the store bounded: expired idempotency keys and old outbox rows go, a batch at a time.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::ports::Swept;

/// One sweep holds SQLite's only writer for a few milliseconds at most.
const BATCH: i64 = 500;

pub(super) async fn sweep(database: &Database, now: Timestamp, events_before: Timestamp) -> Result<Swept, SqlError> {
    // A key whose order is still in motion stays, however old: a parked order must not be placed a second time.
    let keys = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (customer_id, idempotency_key) IN (
            SELECT k.customer_id, k.idempotency_key FROM idempotency_keys k JOIN orders o ON o.id = k.order_id
            WHERE k.expires_at <= $1 AND o.status <> 'pending' ORDER BY k.expires_at LIMIT $2)",
    )
    .bind(now.as_micros())
    .bind(BATCH)
    .execute(database.writer())
    .await?
    .rows_affected();
    let events = sqlx::query(
        "DELETE FROM outbox WHERE (order_id, order_version) IN (
            SELECT order_id, order_version FROM outbox WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    )
    .bind(events_before.as_micros())
    .bind(BATCH)
    .execute(database.writer())
    .await?
    .rows_affected();
    Ok(Swept { keys, events, may_have_more: keys.max(events) >= BATCH.unsigned_abs() })
}
