//! Wrong passwords, counted where all replicas see them.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::domain::throttle::Failures;

pub(super) const PURGE: &str = "DELETE FROM login_failures WHERE pair IN
    (SELECT pair FROM login_failures WHERE last_at < $1 ORDER BY last_at LIMIT $2)";

pub(super) async fn failures(database: &Database, pair: &str) -> Result<Option<Failures>, SqlError> {
    let row: Option<(i64, i64)> = sqlx::query_as("SELECT failures, last_at FROM login_failures WHERE pair = $1")
        .bind(pair)
        .fetch_optional(database.reader())
        .await?;
    Ok(row.map(|(count, last_at)| Failures {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        last_at: Timestamp::from_micros(last_at),
    }))
}

pub(super) async fn add_failure(
    database: &Database,
    pair: &str,
    now: Timestamp,
    forget_before: Timestamp,
) -> Result<(), SqlError> {
    sqlx::query(
        "INSERT INTO login_failures (pair, failures, last_at) VALUES ($1, 1, $2)
         ON CONFLICT (pair) DO UPDATE SET last_at = excluded.last_at,
             failures = CASE WHEN login_failures.last_at < $3 THEN 1 ELSE login_failures.failures + 1 END",
    )
    .bind(pair)
    .bind(now.as_micros())
    .bind(forget_before.as_micros())
    .execute(database.writer())
    .await?;
    Ok(())
}

pub(super) async fn clear_failures(database: &Database, pair: &str) -> Result<(), SqlError> {
    sqlx::query("DELETE FROM login_failures WHERE pair = $1").bind(pair).execute(database.writer()).await?;
    Ok(())
}
