//! Between rows and types, and the one list of columns.

use amends_primitives::Timestamp;
use amends_sql::SqlError;
use serde::de::DeserializeOwned;
use sqlx::{Row, any::AnyRow};

use crate::{
    TraceContext,
    event::Record,
    journal::{DefinitionId, JournalError, ReplicaId, SagaRow},
};

/// In the order in which [`saga`] reads them.
pub(super) const COLUMNS: &str = "id, definition, version, subject, status, step, input, traceparent, failure, parked, request, \
seq, fence, owner, wake_at, created_at, updated_at, finished_at, events";

/// The saga's first entry, where that is in its row.
pub(super) fn first_entry(row: &AnyRow) -> Result<Option<String>, JournalError> {
    row.try_get(18).map_err(sql)
}

pub(super) fn saga(row: &AnyRow) -> Result<SagaRow, JournalError> {
    let id: String = row.try_get(0).map_err(sql)?;
    let corrupt = |column: &'static str| corrupt(&id, column);
    let number = |at: usize, column| -> Result<u64, JournalError> {
        u64::try_from(row.try_get::<i64, _>(at).map_err(sql)?).map_err(|_| corrupt(column))
    };
    Ok(SagaRow {
        id: id.parse().map_err(|_| corrupt("id"))?,
        definition: DefinitionId {
            name: row.try_get(1).map_err(sql)?,
            version: u32::try_from(number(2, "version")?).map_err(|_| corrupt("version"))?,
        },
        subject: row.try_get(3).map_err(sql)?,
        status: row.try_get::<String, _>(4).map_err(sql)?.parse().map_err(|_| corrupt("status"))?,
        step: row.try_get(5).map_err(sql)?,
        input: row.try_get(6).map_err(sql)?,
        trace: row
            .try_get::<Option<String>, _>(7)
            .map_err(sql)?
            .map_or_else(TraceContext::none, |text| TraceContext::parse(&text)),
        failure: json(row, 8, "failure", &id)?,
        parked: json(row, 9, "parked", &id)?,
        request: json(row, 10, "request", &id)?,
        seq: number(11, "seq")?,
        fence: number(12, "fence")?,
        owner: row.try_get::<Option<String>, _>(13).map_err(sql)?.map(ReplicaId::new),
        wake_at: row.try_get::<Option<i64>, _>(14).map_err(sql)?.map(Timestamp::from_micros),
        created_at: Timestamp::from_micros(row.try_get(15).map_err(sql)?),
        updated_at: Timestamp::from_micros(row.try_get(16).map_err(sql)?),
        finished_at: row.try_get::<Option<i64>, _>(17).map_err(sql)?.map(Timestamp::from_micros),
    })
}

fn json<T: DeserializeOwned>(
    row: &AnyRow,
    at: usize,
    column: &'static str,
    id: &str,
) -> Result<Option<T>, JournalError> {
    let text: Option<String> = row.try_get(at).map_err(sql)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| corrupt(id, column))).transpose()
}

pub(super) fn records(saga_id: &str, events: &str) -> Result<Vec<Record>, JournalError> {
    serde_json::from_str(events)
        .map_err(|source| JournalError::Corrupt { saga_id: saga_id.to_owned(), source: Box::new(source) })
}

pub(super) fn write_json<T: serde::Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Bug(Box::new(error)))
}

pub(super) fn corrupt(id: &str, what: &'static str) -> JournalError {
    JournalError::Corrupt { saga_id: id.to_owned(), source: Box::new(SqlError::Corrupt { what }) }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn sql(error: sqlx::Error) -> JournalError {
    SqlError::from(error).into()
}

impl From<SqlError> for JournalError {
    fn from(error: SqlError) -> Self {
        if error.is_unavailable() { Self::Unavailable(Box::new(error)) } else { Self::Bug(Box::new(error)) }
    }
}

/// `$1, $2, …`: placeholders `first` to `first + count - 1`.
pub(super) fn placeholders(first: usize, count: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(count * 5);
    for number in first..first + count {
        let _ = write!(text, "{}${number}", if number == first { "" } else { ", " });
    }
    text
}

/// How many rows a statement has room for that writes or reads `rows` of them: a power of two, the rest filled up with NULL. A statement
/// for every number there is would push the others out of the connections' caches, and each would be parsed and planned anew.
pub(super) const fn padded(rows: usize) -> usize {
    rows.next_power_of_two()
}

/// This number of rows of a list of values.
pub(super) fn tuples(rows: usize, columns: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(rows * columns * 6);
    for at in 0..rows {
        let _ = write!(text, "{}({})", if at == 0 { "" } else { ", " }, placeholders(1 + at * columns, columns));
    }
    text
}
