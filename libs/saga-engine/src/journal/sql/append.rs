//! Writing entries inside an open transaction: check who owns the saga, apply the host's change, move the row, keep the events.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};

use super::{
    ApplyLocal,
    rows::{padded, placeholders, signed, tuples},
};
use crate::{
    LocalOutcome,
    journal::{Append, Appended, JournalError, OperatorRequest},
};

pub(super) type Verdict = Result<Appended, JournalError>;

/// Writes one entry, in as few statements as possible. The caller rolls back unless it was written.
pub(super) async fn one<A: ApplyLocal>(
    tx: &mut Tx,
    dialect: Dialect,
    apply: &A,
    entry: &Append<A::Local>,
) -> Result<Verdict, SqlError> {
    let Some((_, request)) = advance(tx, dialect, &[entry]).await?.into_iter().next() else {
        let rows = read(tx, &[entry.saga_id.to_string()]).await?;
        return Ok(unmoved(&rows, entry));
    };
    match change(tx, apply, entry).await {
        Ok(LocalOutcome::Applied) => Ok(written(request.as_deref(), entry)),
        Ok(LocalOutcome::Refused(refusal)) => Ok(Ok(Appended::LocalRefused(refusal))),
        Err(error) => Ok(Err(error.into())),
    }
}

/// Writes many entries in a fixed number of statements, besides the host's own; none if one of them is to be told of an error or a
/// refusal, and so must not be kept: the caller then rolls back, and writes them one by one.
pub(super) async fn together<A: ApplyLocal>(
    tx: &mut Tx,
    dialect: Dialect,
    apply: &A,
    entries: &[&Arc<Append<A::Local>>],
) -> Result<Option<Vec<Verdict>>, SqlError> {
    let entries: Vec<&Append<A::Local>> = entries.iter().map(|entry| &***entry).collect();
    let mut moved = advance(tx, dialect, &entries).await?;
    // An entry may be here twice, when its writer gave up waiting and asked again: the second finds the first written.
    let moved: Vec<_> = entries.iter().map(|entry| moved.remove(&entry.saga_id.to_string())).collect();
    let others: Vec<_> = entries
        .iter()
        .zip(&moved)
        .filter(|(_, moved)| moved.is_none())
        .map(|(entry, _)| entry.saga_id.to_string())
        .collect();
    let rows = if others.is_empty() { HashMap::new() } else { read(tx, &others).await? };
    let mut verdicts = Vec::with_capacity(entries.len());
    for (entry, moved) in entries.into_iter().zip(moved) {
        let verdict = match moved {
            Some(_) if !matches!(change(tx, apply, entry).await, Ok(LocalOutcome::Applied)) => return Ok(None),
            Some(request) => written(request.as_deref(), entry),
            None => unmoved(&rows, entry),
        };
        verdicts.push(verdict);
    }
    Ok(verdicts.iter().all(Result::is_ok).then_some(verdicts))
}

/// Moves the rows that are where their entries expect them, and keeps those entries' events; returns the requests on them, by saga.
///
/// Only rows under an entry's own fence are locked, and those its replica alone writes: two batches do not wait for each other.
async fn advance<L>(
    tx: &mut Tx,
    dialect: Dialect,
    entries: &[&Append<L>],
) -> Result<HashMap<String, Option<String>>, SqlError> {
    let moved = move_rows(tx, dialect, entries).await?;
    if dialect == Dialect::Sqlite && !moved.is_empty() {
        let mut left: HashSet<&String> = moved.keys().collect();
        let is_kept = |entry: &&&Append<L>| left.remove(&entry.saga_id.to_string()) && is_later(entry);
        let kept: Vec<_> = entries.iter().filter(is_kept).copied().collect();
        if !kept.is_empty() {
            insert_events(tx, &kept).await?;
        }
    }
    Ok(moved)
}

/// Whether it has events and is not the saga's first that has: that one is in the saga's row.
const fn is_later<L>(entry: &Append<L>) -> bool {
    entry.expected_seq > 0 && !entry.records.is_empty()
}

/// Of a first entry the events go into the saga's row. On PostgreSQL those of later ones go with the same statement, as each is a round trip;
/// SQLite's statements write to one table.
async fn move_rows<L>(
    tx: &mut Tx,
    dialect: Dialect,
    entries: &[&Append<L>],
) -> Result<HashMap<String, Option<String>>, SqlError> {
    let padded = padded(entries.len());
    let sql = match dialect {
        // No table of values is made for one.
        Dialect::Sqlite if padded == 1 => MOVE_ONE.to_owned(),
        Dialect::Sqlite => format!("WITH {} {MOVE} RETURNING sagas.id, sagas.request", listed(padded)),
        Dialect::Postgres => format!(
            "WITH {}, moved AS ({MOVE} RETURNING sagas.id, sagas.request, entry.expected, entry.events AS appended),
            kept AS (INSERT INTO saga_entries (saga_id, seq, events)
                SELECT id, expected + 1, appended FROM moved WHERE expected > 0 AND appended IS NOT NULL)
            SELECT id, request FROM moved",
            listed(padded)
        ),
    };
    let mut query = sqlx::query_as::<_, (String, Option<String>)>(sqlx::AssertSqlSafe(sql));
    for at in 0..padded {
        let entry = entries.get(at).copied();
        query = query
            .bind(entry.map(|entry| entry.saga_id.to_string()))
            .bind(entry.map(|entry| signed(entry.expected_seq)))
            .bind(entry.map(|entry| signed(entry.fence)))
            .bind(entry.map(|entry| entry.owner.as_str().to_owned()))
            .bind(entry.map(|entry| signed(entry.next_seq())))
            .bind(entry.map(|entry| entry.status.as_str().to_owned()))
            .bind(entry.and_then(|entry| entry.step.clone()))
            .bind(json(entry.and_then(|entry| entry.failure.as_ref()))?)
            .bind(json(entry.and_then(|entry| entry.parked.as_ref()))?)
            .bind(entry.and_then(|entry| entry.wake_at).map(Timestamp::as_micros))
            .bind(entry.and_then(|entry| owner_after(entry)))
            .bind(entry.map(|entry| i64::from(entry.clears_request)))
            .bind(entry.map(|entry| entry.at.as_micros()))
            .bind(entry.and_then(|entry| finished_at(entry)));
        let events = match entry {
            Some(entry) if dialect == Dialect::Postgres || !is_later(entry) => events(entry)?,
            _ => None,
        };
        query = query.bind(events);
    }
    Ok(query.fetch_all(&mut **tx).await?.into_iter().collect())
}

const COLUMNS: &str =
    "id, expected, fence, writer, seq, status, step, failure, parked, wake_at, owner, clears, at, finished_at, events";
const MOVE: &str =
    "UPDATE sagas SET seq = entry.seq, status = entry.status, step = entry.step, failure = entry.failure,
        parked = entry.parked, wake_at = entry.wake_at, owner = entry.owner,
        request = CASE WHEN entry.clears = 1 THEN NULL ELSE sagas.request END,
        updated_at = entry.at, finished_at = entry.finished_at,
        events = CASE WHEN entry.expected = 0 THEN entry.events ELSE sagas.events END
    FROM entry WHERE sagas.id = entry.id AND sagas.seq = entry.expected AND sagas.fence = entry.fence
        AND sagas.owner = entry.writer";

/// The same for one entry; its values are [`COLUMNS`].
const MOVE_ONE: &str =
    "UPDATE sagas SET seq = $5, status = $6, step = $7, failure = $8, parked = $9, wake_at = $10, owner = $11,
        request = CASE WHEN $12 = 1 THEN NULL ELSE request END, updated_at = $13, finished_at = $14,
        events = CASE WHEN $2 = 0 THEN $15 ELSE events END
    WHERE id = $1 AND seq = $2 AND fence = $3 AND owner = $4 RETURNING id, request";

/// The entries as a table, one row each.
fn listed(padded: usize) -> String {
    format!("entry ({COLUMNS}) AS (VALUES {})", tuples(padded, COLUMNS.split(',').count()))
}

/// Of later entries.
async fn insert_events<L>(tx: &mut Tx, entries: &[&Append<L>]) -> Result<(), SqlError> {
    let padded = padded(entries.len());
    let sql = match entries {
        [_] => "INSERT INTO saga_entries (saga_id, seq, events) VALUES ($1, $2, $3)".to_owned(),
        _ => format!(
            "INSERT INTO saga_entries (saga_id, seq, events)
            SELECT column1, column2, column3 FROM (VALUES {}) AS new WHERE column3 IS NOT NULL",
            tuples(padded, 3)
        ),
    };
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for at in 0..padded {
        let entry = entries.get(at).copied();
        query = query
            .bind(entry.map(|entry| entry.saga_id.to_string()))
            .bind(entry.map(|entry| signed(entry.expected_seq + 1)))
            .bind(entry.map(events).transpose()?.flatten());
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

/// None if there are none: an entry may only take an operator's request off.
fn events<L>(entry: &Append<L>) -> Result<Option<String>, SqlError> {
    json((!entry.records.is_empty()).then_some(&entry.records))
}

async fn change<A: ApplyLocal>(tx: &mut Tx, apply: &A, entry: &Append<A::Local>) -> Result<LocalOutcome, SqlError> {
    let Some(local) = &entry.local else { return Ok(LocalOutcome::Applied) };
    apply.apply_in_tx(tx, local, entry.at).await
}

struct Row {
    seq: i64,
    fence: i64,
    owner: Option<String>,
    request: Option<String>,
}

impl Row {
    /// The entry was written, and the answer got lost: only its owner writes under its fence.
    fn is_after<L>(&self, entry: &Append<L>) -> bool {
        !entry.records.is_empty()
            && self.seq == signed(entry.next_seq())
            && self.fence == signed(entry.fence)
            && self.owner == owner_after(entry)
    }
}

async fn read(tx: &mut Tx, ids: &[String]) -> Result<HashMap<String, Row>, SqlError> {
    let sql = format!(
        "SELECT id, seq, fence, owner, request FROM sagas WHERE id IN ({})",
        placeholders(1, padded(ids.len()))
    );
    let mut query = sqlx::query_as::<_, (String, i64, i64, Option<String>, Option<String>)>(sqlx::AssertSqlSafe(sql));
    for at in 0..padded(ids.len()) {
        query = query.bind(ids.get(at).cloned());
    }
    let found = query.fetch_all(&mut **tx).await?;
    Ok(found.into_iter().map(|(id, seq, fence, owner, request)| (id, Row { seq, fence, owner, request })).collect())
}

/// What to say of an entry whose saga is not where it expected it.
fn unmoved<L>(rows: &HashMap<String, Row>, entry: &Append<L>) -> Verdict {
    match rows.get(&entry.saga_id.to_string()) {
        Some(row) if row.is_after(entry) => written(row.request.as_deref(), entry),
        _ => Ok(Appended::Fenced),
    }
}

fn written<L>(request: Option<&str>, entry: &Append<L>) -> Verdict {
    let request: Option<OperatorRequest> = match request.filter(|_| !entry.clears_request).map(serde_json::from_str) {
        None => None,
        Some(Ok(request)) => Some(request),
        Some(Err(source)) => {
            return Err(JournalError::Corrupt { saga_id: entry.saga_id.to_string(), source: Box::new(source) });
        }
    };
    Ok(Appended::Written(request))
}

fn owner_after<L>(entry: &Append<L>) -> Option<String> {
    let keeps = entry.status.is_active() && !entry.releases;
    keeps.then(|| entry.owner.as_str().to_owned())
}

fn finished_at<L>(entry: &Append<L>) -> Option<i64> {
    entry.status.is_finished().then(|| entry.at.as_micros())
}

fn json<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, SqlError> {
    let encoded = |error| SqlError::Bug(sqlx::Error::Encode(Box::new(error)));
    value.map(serde_json::to_string).transpose().map_err(encoded)
}
