//! Writing entries inside an open transaction: check who owns the saga, apply the host's change, move the row, keep the events.

use std::{collections::HashMap, fmt::Write as _, panic::AssertUnwindSafe, sync::Arc};

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use futures::FutureExt;

use super::{
    ApplyLocal,
    rows::{placeholders, signed, write_json},
    writer::{release, roll_back, savepoint},
};
use crate::{
    LocalOutcome,
    journal::{Append, Appended, JournalError, OperatorRequest},
};

/// Of [`move_rows`]' list of values.
const COLUMNS: usize = 11;

type Verdict = Result<Appended, JournalError>;

/// How entries that share a transaction are guarded from each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Not at all: if one fails, all are to be written again, one by one.
    Together,
    /// By a savepoint each.
    OneByOne,
}

pub(super) enum All {
    Written(Vec<Verdict>),
    /// Not all could be written together.
    OneByOne,
}

/// Writes the only entry of a transaction, in as few statements as possible. The caller rolls back unless it was written.
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
        let rows = read(tx, "", &[&entry.saga_id.to_string()]).await?;
        return Ok(match rows.get(&entry.saga_id.to_string()) {
            Some(row) if row.is_after(entry) => written(row.request.as_deref(), entry),
            _ => Ok(Appended::Fenced),
        });
    };
    insert_events(tx, &[entry]).await?;
    match change(tx, apply, entry).await {
        Ok(LocalOutcome::Applied) => Ok(written(request.as_deref(), entry)),
        Ok(LocalOutcome::Refused(refusal)) => Ok(Ok(Appended::LocalRefused(refusal))),
        Err(error) => Ok(Err(error.into())),
    }
}

/// Writes entries of different sagas in a fixed number of statements, besides the host's own.
pub(super) async fn all<A: ApplyLocal>(
    tx: &mut Tx,
    dialect: Dialect,
    apply: &A,
    entries: &[Arc<Append<A::Local>>],
    care: Care,
) -> Result<All, SqlError> {
    let ids: Vec<String> = entries.iter().map(|entry| entry.saga_id.to_string()).collect();
    let rows = read(tx, dialect.for_update(), &ids).await?;
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(entries.len());
    let mut writes: Vec<&Append<A::Local>> = Vec::with_capacity(entries.len());
    for (entry, id) in entries.iter().zip(&ids) {
        let row = match rows.get(id) {
            Some(row) if row.is_before(entry) => row,
            Some(row) if row.is_after(entry) => {
                verdicts.push(written(row.request.as_deref(), entry));
                continue;
            }
            _ => {
                verdicts.push(Ok(Appended::Fenced));
                continue;
            }
        };
        if entry.local.is_some() && care == Care::OneByOne {
            savepoint(tx).await?;
        }
        let verdict = match (change(tx, apply, entry).await, care) {
            (Ok(LocalOutcome::Applied), _) => written(row.request.as_deref(), entry),
            (Ok(LocalOutcome::Refused(_)) | Err(_), Care::Together) => return Ok(All::OneByOne),
            (Ok(LocalOutcome::Refused(refusal)), Care::OneByOne) => Ok(Appended::LocalRefused(refusal)),
            (Err(error), Care::OneByOne) => Err(error.into()),
        };
        let applied = matches!(verdict, Ok(Appended::Written(_)));
        if entry.local.is_some() && care == Care::OneByOne {
            if applied { release(tx).await? } else { roll_back(tx).await? }
        }
        if applied {
            writes.push(entry);
        }
        verdicts.push(verdict);
    }
    move_rows(tx, &writes).await?;
    Ok(All::Written(verdicts))
}

async fn move_rows<L>(tx: &mut Tx, entries: &[&Append<L>]) -> Result<(), SqlError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut values = String::with_capacity(entries.len() * 60);
    for at in 0..entries.len() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(values, "{comma}({})", placeholders(1 + at * COLUMNS, COLUMNS));
    }
    let sql = format!(
        "WITH entry (id, seq, status, step, failure, parked, wake_at, owner, clears, at, finished_at) AS (VALUES {values})
         UPDATE sagas SET seq = entry.seq, status = entry.status, step = entry.step, failure = entry.failure,
            parked = entry.parked, wake_at = entry.wake_at, owner = entry.owner,
            request = CASE WHEN entry.clears = 1 THEN NULL ELSE sagas.request END,
            updated_at = entry.at, finished_at = entry.finished_at
         FROM entry WHERE sagas.id = entry.id"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for entry in entries {
        let encoded = |error| SqlError::Bug(sqlx::Error::Encode(Box::new(error)));
        query = query
            .bind(entry.saga_id.to_string())
            .bind(signed(entry.next_seq()))
            .bind(entry.status.as_str().to_owned())
            .bind(entry.step.clone())
            .bind(json(entry.failure.as_ref()).map_err(encoded)?)
            .bind(json(entry.parked.as_ref()).map_err(encoded)?)
            .bind(entry.wake_at.map(Timestamp::as_micros))
            .bind(owner_after(entry))
            .bind(i64::from(entry.clears_request))
            .bind(entry.at.as_micros())
            .bind(finished_at(entry));
    }
    query.execute(&mut **tx).await?;
    insert_events(tx, entries).await
}

async fn insert_events<L>(tx: &mut Tx, entries: &[&Append<L>]) -> Result<(), SqlError> {
    let entries: Vec<_> = entries.iter().filter(|entry| !entry.records.is_empty()).collect();
    if entries.is_empty() {
        return Ok(());
    }
    let mut sql = String::from("INSERT INTO saga_events (saga_id, seq, events) VALUES ");
    for at in 0..entries.len() {
        let _ = write!(sql, "{}({})", if at == 0 { "" } else { ", " }, placeholders(1 + at * 3, 3));
    }
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for entry in entries {
        let events = serde_json::to_string(&entry.records)
            .map_err(|error| SqlError::Bug(sqlx::Error::Encode(Box::new(error))))?;
        query = query.bind(entry.saga_id.to_string()).bind(signed(entry.expected_seq + 1)).bind(events);
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
    fn is_before<L>(&self, entry: &Append<L>) -> bool {
        self.seq == signed(entry.expected_seq)
            && self.fence == signed(entry.fence)
            && self.owner.as_deref() == Some(entry.owner.as_str())
    }

    /// The entry was written, and the answer got lost: only its owner writes under its fence.
    fn is_after<L>(&self, entry: &Append<L>) -> bool {
        !entry.records.is_empty()
            && self.seq == signed(entry.next_seq())
            && self.fence == signed(entry.fence)
            && self.owner == owner_after(entry)
    }
}

async fn read<T: AsRef<str>>(tx: &mut Tx, for_update: &str, ids: &[T]) -> Result<HashMap<String, Row>, SqlError> {
    // In one order everywhere, so that two batches never wait for each other.
    let sql = format!(
        "SELECT id, seq, fence, owner, request FROM sagas WHERE id IN ({}) ORDER BY id{for_update}",
        placeholders(1, ids.len())
    );
    let mut query = sqlx::query_as::<_, (String, i64, i64, Option<String>, Option<String>)>(sqlx::AssertSqlSafe(sql));
    for id in ids {
        query = query.bind(id.as_ref().to_owned());
    }
    let found = query.fetch_all(&mut **tx).await?;
    Ok(found.into_iter().map(|(id, seq, fence, owner, request)| (id, Row { seq, fence, owner, request })).collect())
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
