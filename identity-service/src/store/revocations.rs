//! What is revoked, access tokens and sessions, kept until the last token that it is about would have expired anyway. The column `jti`
//! is the name of either. A row is shared once; the mark makes up for a share that failed.

use amends_auth::{Revocable, session_name};
use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, Tx};

use crate::ports::Revocation;

pub(super) const PURGE: &str = "DELETE FROM revoked_tokens WHERE jti IN
    (SELECT jti FROM revoked_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

const INSERT: &str = "INSERT INTO revoked_tokens (jti, expires_at, revoked_at, shared) VALUES ($1, $2, $3, 0)
    ON CONFLICT (jti) DO NOTHING";

pub(super) async fn add(database: &Database, revoked: &Revocation, now: Timestamp) -> Result<(), SqlError> {
    let insert = sqlx::query(INSERT).bind(&revoked.name).bind(revoked.expires_at.as_micros()).bind(now.as_micros());
    insert.execute(database.writer()).await?;
    Ok(())
}

pub(super) async fn add_in_tx(tx: &mut Tx, revoked: &Revocation, now: Timestamp) -> Result<(), SqlError> {
    let insert = sqlx::query(INSERT).bind(&revoked.name).bind(revoked.expires_at.as_micros()).bind(now.as_micros());
    insert.execute(&mut **tx).await?;
    Ok(())
}

/// Asks the session's own row too: a replica of the release before ends sessions there only.
pub(super) async fn contains(database: &Database, token: Revocable<'_>) -> Result<bool, SqlError> {
    let session = token.sid.map(session_name);
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT expires_at FROM revoked_tokens WHERE jti = $1 OR jti = $2
         UNION ALL SELECT expires_at FROM refresh_families WHERE family_id = $3 AND revoked_at IS NOT NULL",
    )
    .bind(token.jti)
    .bind(session.as_deref().unwrap_or(token.jti))
    .bind(token.sid.unwrap_or_default())
    .fetch_optional(database.reader())
    .await?;
    Ok(row.is_some())
}

/// Sessions ended by a release that revokes tokens one by one.
pub(super) async fn add_sessions(
    database: &Database,
    since: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<u64, SqlError> {
    let insert = sqlx::query(
        "INSERT INTO revoked_tokens (jti, expires_at, revoked_at, shared)
         SELECT $1 || family_id, $2, revoked_at, 0 FROM refresh_families WHERE revoked_at > $3
             AND NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE jti = $1 || family_id) ORDER BY revoked_at LIMIT $4
         ON CONFLICT (jti) DO NOTHING",
    )
    .bind(session_name(""))
    .bind(until.as_micros())
    .bind(since.as_micros())
    .bind(i64::from(limit));
    Ok(insert.execute(database.writer()).await?.rows_affected())
}

/// The sessions whose tokens [`add_tokens`] revokes one by one.
const ENDED: &str = "family_id IN (SELECT family_id FROM refresh_families WHERE revoked_at IS NOT NULL)";

/// Access tokens without a session's name, of sessions that ended: a batch of them, out of the table in which their release put them.
pub(super) async fn add_tokens(database: &Database, now: Timestamp, limit: u32) -> Result<u64, SqlError> {
    let select = format!("SELECT jti FROM family_access_tokens WHERE {ENDED} ORDER BY jti LIMIT $1");
    let names: Vec<(String,)> =
        sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(i64::from(limit)).fetch_all(database.reader()).await?;
    let Some((last,)) = names.last() else { return Ok(0) };
    let mut tx = database.begin().await?;
    let insert = format!(
        "INSERT INTO revoked_tokens (jti, expires_at, revoked_at, shared)
         SELECT jti, expires_at, $1, 0 FROM family_access_tokens WHERE {ENDED} AND jti <= $2 AND expires_at > $1
         ON CONFLICT (jti) DO NOTHING"
    );
    sqlx::query(sqlx::AssertSqlSafe(insert)).bind(now.as_micros()).bind(last).execute(&mut *tx).await?;
    let delete = format!("DELETE FROM family_access_tokens WHERE {ENDED} AND jti <= $1");
    let deleted = sqlx::query(sqlx::AssertSqlSafe(delete)).bind(last).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(deleted)
}

pub(super) async fn page(
    database: &Database,
    now: Timestamp,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Revocation>, SqlError> {
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

pub(super) async fn unshared(database: &Database, now: Timestamp, limit: u32) -> Result<Vec<Revocation>, SqlError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT jti, expires_at FROM revoked_tokens WHERE shared = 0 AND expires_at > $1 ORDER BY revoked_at LIMIT $2",
    )
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(database.reader())
    .await?;
    Ok(rows.into_iter().map(from_row).collect())
}

pub(super) async fn mark_shared(database: &Database, revoked: &[Revocation]) -> Result<(), SqlError> {
    let mut tx = database.begin().await?;
    for revoked in revoked {
        sqlx::query("UPDATE revoked_tokens SET shared = 1 WHERE jti = $1")
            .bind(&revoked.name)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn from_row((name, expires_at): (String, i64)) -> Revocation {
    Revocation { name, expires_at: Timestamp::from_micros(expires_at) }
}
