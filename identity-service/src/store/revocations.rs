//! Revoked access tokens, kept until they would have expired anyway. A row is shared once; the mark makes up for a share that failed.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, Tx};

use crate::ports::TokenName;

pub(super) const PURGE: &str = "DELETE FROM revoked_tokens WHERE jti IN
    (SELECT jti FROM revoked_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

const INSERT: &str = "INSERT INTO revoked_tokens (jti, expires_at, revoked_at, shared) VALUES ($1, $2, $3, 0)
    ON CONFLICT (jti) DO NOTHING";

pub(super) async fn add(database: &Database, token: &TokenName, now: Timestamp) -> Result<(), SqlError> {
    let insert = sqlx::query(INSERT).bind(&token.jti).bind(token.expires_at.as_micros()).bind(now.as_micros());
    insert.execute(database.writer()).await?;
    Ok(())
}

pub(super) async fn add_in_tx(tx: &mut Tx, token: &TokenName, now: Timestamp) -> Result<(), SqlError> {
    let insert = sqlx::query(INSERT).bind(&token.jti).bind(token.expires_at.as_micros()).bind(now.as_micros());
    insert.execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn contains(database: &Database, jti: &str) -> Result<bool, SqlError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT expires_at FROM revoked_tokens WHERE jti = $1")
        .bind(jti)
        .fetch_optional(database.reader())
        .await?;
    Ok(row.is_some())
}

pub(super) async fn page(
    database: &Database,
    now: Timestamp,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<TokenName>, SqlError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT jti, expires_at FROM revoked_tokens WHERE jti > $1 AND expires_at > $2 ORDER BY jti LIMIT $3",
    )
    .bind(after.unwrap_or_default())
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(database.reader())
    .await?;
    Ok(rows.into_iter().map(from_row).collect())
}

pub(super) async fn unshared(database: &Database, now: Timestamp, limit: u32) -> Result<Vec<TokenName>, SqlError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT jti, expires_at FROM revoked_tokens WHERE shared = 0 AND expires_at > $1 ORDER BY revoked_at LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(database.reader())
    .await?;
    Ok(rows.into_iter().map(from_row).collect())
}

pub(super) async fn mark_shared(database: &Database, tokens: &[TokenName]) -> Result<(), SqlError> {
    let mut tx = database.begin().await?;
    for token in tokens {
        sqlx::query("UPDATE revoked_tokens SET shared = 1 WHERE jti = $1").bind(&token.jti).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) fn from_row((jti, expires_at): (String, i64)) -> TokenName {
    TokenName { jti, expires_at: Timestamp::from_micros(expires_at) }
}
