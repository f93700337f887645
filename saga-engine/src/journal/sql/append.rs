//! Writing entries inside an open transaction: check who owns the saga, apply the host's change, move the row, keep the events.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use amends_primitives::Timestamp;
use amends_sql::{SqlError, Tx};
use futures::FutureExt;

use super::{
    ApplyLocal,
    rows::{placeholders, places, signed, tuples, write_json},
};
use crate::{
    LocalOutcome,
    journal::{Append, Appended, JournalError, OperatorRequest},
};

/// Of [`move_rows`]' list of values.
const COLUMNS: usize = 14;

pub(super) type Verdict = Result<Appended, JournalError>;

/// Writes one entry, in as few statements as possible. The caller rolls back unless it was written.
pub(super) async fn one<A: ApplyLocal>(tx: &mut Tx, apply: &A, entry: &Append<A::Local>) -> Result<Verdict, SqlError> {
    let (failure, parked) = match (json(entry.failure.as_ref()), json(entry.parked.as_ref())) {
        (Ok(failure), Ok(parked)) => (failure, parked),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    let sql =
        "UPDATE sagas SET seq = $5, status = $6, step = $7, failure = $8, parked = $9, wake_at = $10, owner = $11,
            request = CASE WHEN $12 = 1 THEN NULL ELSE request END, updated_at = $13, finished_at = $14
        WHERE id = $1 AND seq = $2 AND fence = $3 AND owner = $4 RETURNING request";
    let moved: Option<(Option<String>,)> = sqlx::query_as(sql)
        .bind(entry.saga_id.to_string())
        .bind(signed(entry.expected_seq))
        .bind(signed(entry.fence))
        .bind(entry.owner.as_str().to_owned())
        .bind(signed(entry.next_seq()))
        .bind(entry.status.as_str().to_owned())
        .bind(entry.step.clone())
        .bind(failure)
        .bind(parked)
        .bind(entry.wake_at.map(Timestamp::as_micros))
        .bind(owner_after(entry))
        .bind(i64::from(entry.clears_request))
        .bind(entry.at.as_micros())
        .bind(finished_at(entry))
        .fetch_optional(&mut **tx)
        .await?;
    let Some((request,)) = moved else {
        let rows = read(tx, &[entry.saga_id.to_string()]).await?;
        return Ok(unmoved(&rows, entry));
    };
    insert_events(tx, &[entry]).await?;
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
    apply: &A,
    entries: &[Arc<Append<A::Local>>],
) -> Result<Option<Vec<Verdict>>, SqlError> {
    let mut moved = move_rows(tx, entries).await?;
    let mut writes: Vec<(&Append<A::Local>, Option<String>)> = Vec::with_capacity(entries.len());
    let mut others = Vec::new();
    let mut is_write = Vec::with_capacity(entries.len());
    for entry in entries {
        // It may be here twice, when its writer gave up waiting and asked again: the second finds the first written.
        let id = entry.saga_id.to_string();
        let request = moved.remove(&id);
        is_write.push(request.is_some());
        match request {
            Some(request) => writes.push((entry, request)),
            None => others.push(id),
        }
    }
    let rows = if others.is_empty() { HashMap::new() } else { read(tx, &others).await? };
    insert_events(tx, &writes.iter().map(|(entry, _)| *entry).collect::<Vec<_>>()).await?;
    for (entry, _) in &writes {
        if !matches!(change(tx, apply, entry).await, Ok(LocalOutcome::Applied)) {
            return Ok(None);
        }
    }
    let mut writes = writes.into_iter();
    let verdict = |(entry, is_write): (&Arc<Append<A::Local>>, bool)| match is_write.then(|| writes.next()).flatten() {
        Some((entry, request)) => written(request.as_deref(), entry),
        None => unmoved(&rows, entry),
    };
    let verdicts: Vec<Verdict> = entries.iter().zip(is_write).map(verdict).collect();
    Ok(verdicts.iter().all(Result::is_ok).then_some(verdicts))
}

/// Moves the rows that are where their entries expect them; returns the requests on them, by saga.
///
/// Only rows under an entry's own fence are locked, and those its replica alone writes: two batches do not wait for each other.
async fn move_rows<L>(tx: &mut Tx, entries: &[Arc<Append<L>>]) -> Result<HashMap<String, Option<String>>, SqlError> {
    let places = places(entries.len());
    let values = tuples(places, COLUMNS);
    let sql = format!(
        "WITH entry (id, expected, fence, writer, seq, status, step, failure, parked, wake_at, owner, clears, at, finished_at)
            AS (VALUES {values})
         UPDATE sagas SET seq = entry.seq, status = entry.status, step = entry.step, failure = entry.failure,
            parked = entry.parked, wake_at = entry.wake_at, owner = entry.owner,
            request = CASE WHEN entry.clears = 1 THEN NULL ELSE sagas.request END,
            updated_at = entry.at, finished_at = entry.finished_at
         FROM entry WHERE sagas.id = entry.id AND sagas.seq = entry.expected AND sagas.fence = entry.fence
            AND sagas.owner = entry.writer
         RETURNING sagas.id, sagas.request"
    );
    let mut query = sqlx::query_as::<_, (String, Option<String>)>(sqlx::AssertSqlSafe(sql));
    let encoded = |error| SqlError::Bug(sqlx::Error::Encode(Box::new(error)));
    for at in 0..places {
        let entry = entries.get(at);
        query = query
            .bind(entry.map(|entry| entry.saga_id.to_string()))
            .bind(entry.map(|entry| signed(entry.expected_seq)))
            .bind(entry.map(|entry| signed(entry.fence)))
            .bind(entry.map(|entry| entry.owner.as_str().to_owned()))
            .bind(entry.map(|entry| signed(entry.next_seq())))
            .bind(entry.map(|entry| entry.status.as_str().to_owned()))
            .bind(entry.and_then(|entry| entry.step.clone()))
            .bind(json(entry.and_then(|entry| entry.failure.as_ref())).map_err(encoded)?)
            .bind(json(entry.and_then(|entry| entry.parked.as_ref())).map_err(encoded)?)
            .bind(entry.and_then(|entry| entry.wake_at).map(Timestamp::as_micros))
            .bind(entry.and_then(|entry| owner_after(entry)))
            .bind(entry.map(|entry| i64::from(entry.clears_request)))
            .bind(entry.map(|entry| entry.at.as_micros()))
            .bind(entry.and_then(|entry| finished_at(entry)));
    }
    Ok(query.fetch_all(&mut **tx).await?.into_iter().collect())
}

async fn insert_events<L>(tx: &mut Tx, entries: &[&Append<L>]) -> Result<(), SqlError> {
    let entries: Vec<_> = entries.iter().filter(|entry| !entry.records.is_empty()).collect();
    if entries.is_empty() {
        return Ok(());
    }
    let places = places(entries.len());
    let sql = format!(
        "INSERT INTO saga_events (saga_id, seq, events)
        SELECT column1, column2, column3 FROM (VALUES {}) AS new WHERE column1 IS NOT NULL",
        tuples(places, 3)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for at in 0..places {
        let entry = entries.get(at);
        let events = entry.map(|entry| serde_json::to_string(&entry.records)).transpose();
        query = query
            .bind(entry.map(|entry| entry.saga_id.to_string()))
            .bind(entry.map(|entry| signed(entry.expected_seq + 1)))
            .bind(events.map_err(|error| SqlError::Bug(sqlx::Error::Encode(Box::new(error))))?);
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

async fn change<A: ApplyLocal>(tx: &mut Tx, apply: &A, entry: &Append<A::Local>) -> Result<LocalOutcome, SqlError> {
    let Some(local) = &entry.local else { return Ok(LocalOutcome::Applied) };
    match AssertUnwindSafe(apply.apply_in_tx(tx, local, entry.at)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_panic) => Err(SqlError::Bug(sqlx::Error::Protocol("the host's change panicked".into()))),
    }
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
        placeholders(1, places(ids.len()))
    );
    let mut query = sqlx::query_as::<_, (String, i64, i64, Option<String>, Option<String>)>(sqlx::AssertSqlSafe(sql));
    for at in 0..places(ids.len()) {
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

fn json<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, JournalError> {
    value.map(write_json).transpose()
}
