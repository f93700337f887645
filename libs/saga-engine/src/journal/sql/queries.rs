//! Reading and housekeeping: what waiting callers and operators ask.

use std::fmt::Write as _;

use amends_primitives::{SagaId, Timestamp};
use amends_sql::{Database, SqlError};

use super::{
    ownership::{later_entries, now, stored},
    rows::{self, COLUMNS, placeholders, write_json},
};
use crate::{
    Snapshot, Status,
    journal::{
        DefinitionId, Filter, JournalError, OperatorRequest, Page, Requested, SagaRow, Stats, StatsRow, Stored, Wish,
    },
};

pub(super) async fn row(database: &Database, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM sagas WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(database.reader())
        .await
        .map_err(SqlError::from)?;
    row.as_ref().map(rows::saga).transpose()
}

/// Row and events of one moment: the row is read first, and its sequence number says how many events belong to it.
pub(super) async fn load(database: &Database, id: SagaId) -> Result<Option<Stored>, JournalError> {
    let mut tx = database.begin_reading().await?;
    let key = id.to_string();
    let sql = format!("SELECT {COLUMNS} FROM sagas WHERE id = $1");
    let found = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(key.clone())
        .fetch_optional(&mut *tx)
        .await
        .map_err(SqlError::from)?;
    let Some(row) = found else { return Ok(None) };
    // PostgreSQL reads each statement at its own moment: later entries may be more than the row knows of.
    let later = later_entries(&mut tx, std::slice::from_ref(&key)).await?.remove(&key).unwrap_or_default();
    stored(&row, later).map(Some)
}

pub(super) async fn snapshots(database: &Database, ids: &[SagaId]) -> Result<Vec<Snapshot>, JournalError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {COLUMNS} FROM sagas WHERE id IN ({})", placeholders(1, ids.len()));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for id in ids {
        query = query.bind(id.to_string());
    }
    let found = query.fetch_all(database.reader()).await.map_err(SqlError::from)?;
    found.iter().map(|row| Ok(rows::saga(row)?.snapshot())).collect()
}

pub(super) async fn request(
    database: &Database,
    id: SagaId,
    request: &OperatorRequest,
) -> Result<Requested, JournalError> {
    let may = match request.wish {
        Wish::Cancel => "status IN ('running', 'unwinding')",
        Wish::Retry => "status IN ('running', 'unwinding', 'parked')",
        Wish::Resolve { .. } => "status = 'parked'",
    };
    let sql = format!("UPDATE sagas SET request = $2 WHERE id = $1 AND request IS NULL AND {may}");
    let updated = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id.to_string())
        .bind(write_json(request)?)
        .execute(database.writer())
        .await
        .map_err(SqlError::from)?;
    if updated.rows_affected() == 1 {
        return Ok(Requested::Accepted);
    }
    Ok(match row(database, id).await? {
        None => Requested::NotFound,
        Some(row) if row.request.is_some() => Requested::Busy,
        Some(row) => Requested::NotInStatus(row.status),
    })
}

pub(super) async fn list(database: &Database, filter: &Filter) -> Result<Page, JournalError> {
    let mut conditions = String::from("1 = 1");
    let mut texts: Vec<String> = Vec::new();
    if let Some(status) = filter.status {
        // A literal, so that the partial index for it is considered.
        let _ = write!(conditions, " AND status = '{status}'");
    }
    let fields = [
        ("definition = ", filter.definition.clone()),
        ("step = ", filter.step.clone()),
        ("subject = ", filter.subject.clone()),
        ("substr(traceparent, 4, 32) = ", filter.trace_id.clone()),
        ("id < ", filter.cursor.map(|cursor| cursor.to_string())),
    ];
    for (condition, value) in fields {
        if let Some(value) = value {
            texts.push(value);
            let _ = write!(conditions, " AND {condition}${}", texts.len());
        }
    }
    let (before_at, limit_at) = (texts.len() + 1, texts.len() + 2);
    let sql = format!(
        "SELECT {COLUMNS} FROM sagas WHERE {conditions} AND created_at < ${before_at} ORDER BY id DESC LIMIT ${limit_at}"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for text in texts {
        query = query.bind(text);
    }
    let size = filter.page_size();
    let found = query
        .bind(filter.created_before.map_or(i64::MAX, Timestamp::as_micros))
        .bind(i64::from(size))
        .fetch_all(database.reader())
        .await
        .map_err(SqlError::from)?;
    let rows: Vec<SagaRow> = found.iter().map(rows::saga).collect::<Result<_, _>>()?;
    let full = rows.len() == usize::try_from(size).unwrap_or(usize::MAX);
    let next = if full { rows.last().map(|row| row.id) } else { None };
    Ok(Page { rows, next })
}

pub(super) async fn stats(database: &Database, at: Timestamp) -> Result<Stats, JournalError> {
    let sql = "SELECT definition, version, status, COUNT(*), MIN(created_at) FROM sagas
        WHERE status IN ('running', 'unwinding') GROUP BY definition, version, status
        UNION ALL
        SELECT definition, version, status, COUNT(*), MIN(created_at) FROM sagas
        WHERE status = 'parked' GROUP BY definition, version, status
        ORDER BY 1, 2, 3";
    let found: Vec<(String, i64, String, i64, i64)> =
        sqlx::query_as(sql).fetch_all(database.reader()).await.map_err(SqlError::from)?;
    // Leases are by the database's clock.
    let sql = format!("SELECT COUNT(*) FROM saga_replicas WHERE expires_at > {}", now(database.dialect()));
    let (replicas,): (i64,) =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(database.reader()).await.map_err(SqlError::from)?;
    let mut stats = Stats { replicas: u64::try_from(replicas).unwrap_or(0), ..Stats::default() };
    for (name, version, status, count, created_at) in found {
        let status: Status = status.parse().map_err(|_| rows::corrupt("stats", "status"))?;
        let version = u32::try_from(version).map_err(|_| rows::corrupt("stats", "version"))?;
        let count = u64::try_from(count).unwrap_or(0);
        let oldest = at.since(Timestamp::from_micros(created_at));
        stats.counts.push(StatsRow { definition: DefinitionId { name, version }, status, count, oldest });
    }
    Ok(stats)
}
