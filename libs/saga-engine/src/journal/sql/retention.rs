//! What finished long ago is deleted, a few sagas at a time.

use amends_primitives::Timestamp;
use amends_sql::{Database, Dialect, SqlError};

use super::rows::placeholders;
use crate::journal::JournalError;

/// The oldest sagas that finished before `$1`, at most `$2` of them. `sagas_finished` holds them in this order, so that those to be
/// kept are never looked at; replicas that purge at the same time pass over each other's.
pub(crate) fn oldest(dialect: Dialect) -> String {
    let skip = dialect.for_update_skip_locked();
    format!("SELECT id FROM sagas WHERE finished_at < $1 ORDER BY finished_at LIMIT $2{skip}")
}

pub(super) async fn purge(database: &Database, before: Timestamp, limit: u32) -> Result<u64, JournalError> {
    let mut tx = database.begin().await?;
    let ids: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(oldest(database.dialect())))
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(SqlError::from)?;
    if ids.is_empty() {
        return Ok(0);
    }
    for (table, column) in [("saga_entries", "saga_id"), ("sagas", "id")] {
        let sql = format!("DELETE FROM {table} WHERE {column} IN ({})", placeholders(1, ids.len()));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (id,) in &ids {
            query = query.bind(id.clone());
        }
        query.execute(&mut *tx).await.map_err(SqlError::from)?;
    }
    tx.commit().await.map_err(SqlError::from)?;
    Ok(ids.len() as u64)
}
