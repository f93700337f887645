//! Who runs what: heartbeats, claims, hand-over. Leases are compared by the database's own clock, so replicas' clocks may differ; and
//! that clock may be set, so a lease is never believed to be longer than a lease is, nor to have ended before `believed`.

use std::{collections::HashMap, time::Duration};

use amends_primitives::{SagaId, Timestamp};
use amends_sql::{Connection, Database, Dialect, SqlError};
use sqlx::{Row, any::AnyRow};

use super::rows::{self, COLUMNS, placeholders};
use crate::journal::{Claimed, DefinitionId, Heartbeat, JournalError, OperatorRequest, ReplicaId, Stored};

/// Microseconds since the epoch, by the database.
pub(super) const fn now(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS BIGINT)",
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }
}

/// `(definition, version)` is one of `known`, whose values begin at placeholder `first`.
fn is_known(first: usize, known: &[DefinitionId]) -> String {
    if known.is_empty() {
        return "1 = 0".to_owned();
    }
    let one = |at: usize| format!("(s.definition = ${} AND s.version = ${})", first + 2 * at, first + 2 * at + 1);
    format!("({})", (0..known.len()).map(one).collect::<Vec<_>>().join(" OR "))
}

/// The earlier of the database's time and a number of ours.
fn now_or(dialect: Dialect, at: Timestamp) -> String {
    let earlier = match dialect {
        Dialect::Sqlite => "MIN",
        Dialect::Postgres => "LEAST",
    };
    format!("{earlier}({}, {})", now(dialect), at.as_micros())
}

/// Active sagas whose owner's lease had ended at `now`.
fn orphaned(now: &str) -> String {
    format!(
        "s.status IN ('running', 'unwinding') AND (s.owner IS NULL OR NOT EXISTS \
         (SELECT 1 FROM saga_replicas r WHERE r.id = s.owner AND r.expires_at > {now}))"
    )
}

/// Parked sagas that an operator wants moved.
const WANTED: &str = "s.status = 'parked' AND s.request IS NOT NULL";

/// One statement, because an idle replica runs little else.
pub(super) async fn heartbeat(
    database: &Database,
    replica: &ReplicaId,
    lease: Duration,
    known: &[DefinitionId],
) -> Result<Heartbeat, JournalError> {
    let now = now(database.dialect());
    let (orphaned, known_too) = (orphaned(now), is_known(3, known));
    // Subqueries see the table as it was before this statement, and so perhaps this replica as gone: it does not claim from itself.
    let sql = format!(
        "INSERT INTO saga_replicas (id, expires_at, beats) VALUES ($1, {now} + $2, 1)
         ON CONFLICT (id) DO UPDATE SET expires_at = {now} + $2, beats = saga_replicas.beats + 1
         RETURNING beats,
            CASE WHEN EXISTS (SELECT 1 FROM sagas s WHERE {orphaned} AND (s.owner IS NULL OR s.owner <> $1) AND {known_too})
                   OR EXISTS (SELECT 1 FROM sagas s WHERE {WANTED} AND {known_too}) THEN 1 ELSE 0 END,
            CASE WHEN EXISTS (SELECT 1 FROM sagas s WHERE s.request IS NOT NULL AND s.owner = $1
                   AND s.status IN ('running', 'unwinding')) THEN 1 ELSE 0 END,
            (SELECT CAST(MIN(r.expires_at) - {now} AS BIGINT) FROM saga_replicas r WHERE r.id <> $1 AND r.expires_at > {now}),
            CASE WHEN EXISTS (SELECT 1 FROM saga_replicas r WHERE r.id <> $1 AND r.expires_at > {now} + $2) THEN 1 ELSE 0 END,
            {now}"
    );
    let mut query = sqlx::query_as::<_, (i64, i64, i64, Option<i64>, i64, i64)>(sqlx::AssertSqlSafe(sql))
        .bind(replica.as_str().to_owned())
        .bind(micros(lease));
    for definition in known {
        query = query.bind(definition.name.clone()).bind(i64::from(definition.version));
    }
    let (beats, claimable, requests, next_expiry, overlong, store_now) =
        query.fetch_one(database.writer()).await.map_err(SqlError::from)?;
    if overlong != 0 {
        cut_leases(database, replica, lease).await?;
    }
    Ok(Heartbeat {
        lapsed: beats == 1,
        claimable: claimable != 0,
        requests: requests != 0,
        next_expiry: next_expiry.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))),
        store_now: Timestamp::from_micros(store_now),
    })
}

/// The database's clock was set back, and what was a lease is one and that step. Cut to a lease from now, it ends for a replica that is
/// gone, and not too early for one that is not.
async fn cut_leases(database: &Database, replica: &ReplicaId, lease: Duration) -> Result<(), JournalError> {
    let now = now(database.dialect());
    let sql = format!("UPDATE saga_replicas SET expires_at = {now} + $2 WHERE id <> $1 AND expires_at > {now} + $2");
    let cut = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(replica.as_str().to_owned())
        .bind(micros(lease))
        .execute(database.writer())
        .await
        .map_err(SqlError::from)?;
    tracing::warn!(replicas = cut.rows_affected(), "the database's clock was set back: leases are cut to their length");
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Sagas are taken by one statement, a transaction of its own: a replica that is frozen has either taken them over, and then loses them
/// with its lease, or holds no lock on them that would make others pass over them.
pub(super) async fn claim(
    database: &Database,
    replica: &ReplicaId,
    known: &[DefinitionId],
    limit: u32,
    believed: Timestamp,
    at: Timestamp,
) -> Result<Claimed, JournalError> {
    let now = now_or(database.dialect(), believed);
    let mut taken = take(database, &orphaned(&now), replica, known, limit, at).await?;
    let left = limit.saturating_sub(u32::try_from(taken.len()).unwrap_or(limit));
    if left > 0 {
        match take(database, WANTED, replica, known, left, at).await {
            Ok(wanted) => taken.extend(wanted),
            Err(error) if taken.is_empty() => return Err(error),
            // The next claim finds them; those that are taken are not to wait for it.
            Err(error) => tracing::debug!(%error, "parked sagas could not be claimed"),
        }
    }
    if taken.is_empty() {
        return Ok(Claimed::default());
    }
    let claimed = with_events(database, &taken).await?;
    if let Err(error) = forget_the_gone(database, &now).await {
        tracing::debug!(%error, "replicas that are gone could not be forgotten; the next claim tries again");
    }
    Ok(claimed)
}

/// Takes over sagas that meet `condition`; returns their [`COLUMNS`].
async fn take(
    database: &Database,
    condition: &str,
    replica: &ReplicaId,
    known: &[DefinitionId],
    limit: u32,
    at: Timestamp,
) -> Result<Vec<AnyRow>, JournalError> {
    let (known_too, skip) = (is_known(3, known), database.dialect().for_update_skip_locked());
    // MATERIALIZED: run once, or the limit would hold for each run of its own. The limit as a literal: not knowing it, PostgreSQL's plan
    // would prepare for a tenth of all sagas.
    let sql = format!(
        "WITH found AS MATERIALIZED (
            SELECT s.id FROM sagas s WHERE {condition} AND {known_too} ORDER BY s.id LIMIT {limit}{skip})
        UPDATE sagas SET owner = $1, fence = fence + 1, updated_at = $2 WHERE id IN (SELECT id FROM found)
        RETURNING {COLUMNS}"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(replica.as_str().to_owned()).bind(at.as_micros());
    for definition in known {
        query = query.bind(definition.name.clone()).bind(i64::from(definition.version));
    }
    // Seldom run, and with many a limit: not worth a place in the connections' caches.
    Ok(query.persistent(false).fetch_all(database.writer()).await.map_err(SqlError::from)?)
}

async fn with_events(database: &Database, taken: &[AnyRow]) -> Result<Claimed, JournalError> {
    let id = |row: &AnyRow| row.try_get::<String, _>(0).map_err(SqlError::from);
    let ids = taken.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let mut connection = database.reader().acquire().await.map_err(SqlError::from)?;
    let mut events = later_entries(&mut connection, &ids).await?;
    let mut claimed = Claimed::default();
    for (row, id) in taken.iter().zip(&ids) {
        match stored(row, events.remove(id).unwrap_or_default()) {
            Ok(stored) => claimed.sagas.push(stored),
            // An unreadable saga does not block the others.
            Err(error) => claimed.unreadable.push((id.parse().map_err(|_| rows::corrupt(id, "id"))?, error)),
        }
    }
    Ok(claimed)
}

/// From a saga's [`COLUMNS`] and its later entries.
pub(super) fn stored(row: &AnyRow, later: Vec<String>) -> Result<Stored, JournalError> {
    let (first, row) = (rows::first_entry(row)?, rows::saga(row)?);
    let mut records = Vec::new();
    for text in first.into_iter().chain(later) {
        records.extend(rows::records(&row.id.to_string(), &text)?);
    }
    // The rest is of the replica that took the saga over since, this replica's lease having ended, or was written between two reads: not this
    // row's.
    records.truncate(usize::try_from(row.seq).unwrap_or(usize::MAX));
    Ok(Stored { row, records })
}

/// Forgets replicas that are gone for good. Living ones that come back late write themselves in again.
async fn forget_the_gone(database: &Database, now: &str) -> Result<(), JournalError> {
    let sql = format!(
        "DELETE FROM saga_replicas WHERE expires_at < {now} - 60000000 AND NOT EXISTS
            (SELECT 1 FROM sagas s WHERE s.owner = saga_replicas.id AND s.status IN ('running', 'unwinding'))"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.map_err(SqlError::from)?;
    Ok(())
}

/// The later entries of some sagas as they are stored, by the saga's id.
pub(super) async fn later_entries(
    connection: &mut Connection,
    ids: &[String],
) -> Result<HashMap<String, Vec<String>>, JournalError> {
    let sql = format!(
        "SELECT saga_id, events FROM saga_entries WHERE saga_id IN ({}) ORDER BY saga_id, seq",
        placeholders(1, ids.len())
    );
    let mut query = sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(sql));
    for id in ids {
        query = query.bind(id.clone());
    }
    let mut texts: HashMap<String, Vec<String>> = HashMap::new();
    for (saga_id, text) in query.fetch_all(&mut *connection).await.map_err(SqlError::from)? {
        texts.entry(saga_id).or_default().push(text);
    }
    Ok(texts)
}

pub(super) async fn evict_others(database: &Database, replica: &ReplicaId) -> Result<(), JournalError> {
    let sql = "DELETE FROM saga_replicas WHERE id <> $1";
    sqlx::query(sql).bind(replica.as_str().to_owned()).execute(database.writer()).await.map_err(SqlError::from)?;
    Ok(())
}

pub(super) async fn owned(database: &Database, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError> {
    let sql = "SELECT id FROM sagas WHERE owner = $1 AND status IN ('running', 'unwinding')";
    let ids: Vec<(String,)> = sqlx::query_as(sql)
        .bind(replica.as_str().to_owned())
        .fetch_all(database.reader())
        .await
        .map_err(SqlError::from)?;
    ids.into_iter().map(|(id,)| id.parse().map_err(|_| rows::corrupt(&id, "id"))).collect()
}

pub(super) async fn retire(database: &Database, replica: &ReplicaId, at: Timestamp) -> Result<u64, JournalError> {
    let mut tx = database.begin().await?;
    let sql = "UPDATE sagas SET owner = NULL, updated_at = $2 WHERE owner = $1 AND status IN ('running', 'unwinding')";
    let given_up = sqlx::query(sql)
        .bind(replica.as_str().to_owned())
        .bind(at.as_micros())
        .execute(&mut *tx)
        .await
        .map_err(SqlError::from)?
        .rows_affected();
    let sql = "DELETE FROM saga_replicas WHERE id = $1";
    sqlx::query(sql).bind(replica.as_str().to_owned()).execute(&mut *tx).await.map_err(SqlError::from)?;
    tx.commit().await.map_err(SqlError::from)?;
    Ok(given_up)
}

pub(super) async fn requests(
    database: &Database,
    replica: &ReplicaId,
) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError> {
    let sql =
        "SELECT id, request FROM sagas WHERE request IS NOT NULL AND owner = $1 AND status IN ('running', 'unwinding')";
    let found = sqlx::query(sql)
        .bind(replica.as_str().to_owned())
        .fetch_all(database.reader())
        .await
        .map_err(SqlError::from)?;
    found
        .iter()
        .map(|row| {
            let id: String = row.try_get(0).map_err(SqlError::from)?;
            let request: String = row.try_get(1).map_err(SqlError::from)?;
            let request = serde_json::from_str(&request).map_err(|_| rows::corrupt(&id, "request"))?;
            Ok((id.parse().map_err(|_| rows::corrupt(&id, "id"))?, request))
        })
        .collect()
}
