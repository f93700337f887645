//! Writing the first row of sagas, one alone or many, by one statement.

use std::collections::HashSet;

use amends_sql::{Connection, SqlError, Tx};
use sqlx::{Any, Row as _, any::AnyArguments};

use super::rows::{padded, tuples};
use crate::journal::{JournalError, NewRow};

/// Of [`all`]'s list of values.
const COLUMNS: usize = 8;

pub(super) type Started = Result<(), JournalError>;

/// Writes one. A first statement that finds the id taken leaves the caller's transaction usable.
pub(super) async fn one(tx: &mut Tx, saga: &NewRow) -> Result<Started, SqlError> {
    let sql = "INSERT INTO sagas (id, definition, version, subject, status, input, traceparent, seq, fence, owner, created_at, updated_at)
        VALUES ($1, $2, $3, $4, 'running', $5, $6, 0, 1, $7, $8, $8) ON CONFLICT (id) DO NOTHING";
    let inserted = bind(sqlx::query(sql), Some(saga)).execute(&mut **tx).await?.rows_affected();
    Ok(if inserted == 1 { Ok(()) } else { Err(JournalError::Exists(saga.id)) })
}

type Query = sqlx::query::Query<'static, Any, AnyArguments>;

/// A row's values, in the order of its columns; nothing in each for a row that is there to make up the number.
fn bind(query: Query, saga: Option<&NewRow>) -> Query {
    query
        .bind(saga.map(|saga| saga.id.to_string()))
        .bind(saga.map(|saga| saga.definition.name.clone()))
        .bind(saga.map(|saga| i64::from(saga.definition.version)))
        .bind(saga.map(|saga| saga.subject.clone()))
        .bind(saga.map(|saga| saga.input.clone()))
        .bind(saga.and_then(|saga| saga.trace.text()).map(str::to_owned))
        .bind(saga.map(|saga| saga.owner.as_str().to_owned()))
        .bind(saga.map(|saga| saga.at.as_micros()))
}

/// Writes many by one statement. Fails if the database refuses one of them for another reason than that its id is taken.
pub(super) async fn all(connection: &mut Connection, sagas: &[&NewRow]) -> Result<Vec<Started>, SqlError> {
    let padded = padded(sagas.len());
    let sql = format!(
        "INSERT INTO sagas (id, definition, version, subject, status, input, traceparent, seq, fence, owner, created_at, updated_at)
        SELECT column1, column2, column3, column4, 'running', column5, column6, 0, 1, column7, column8, column8
        FROM (VALUES {}) AS new WHERE column1 IS NOT NULL ON CONFLICT (id) DO NOTHING RETURNING id",
        tuples(padded, COLUMNS)
    );
    let query =
        (0..padded).fold(sqlx::query(sqlx::AssertSqlSafe(sql)), |query, at| bind(query, sagas.get(at).copied()));
    let inserted = query.fetch_all(&mut *connection).await?;
    let mut inserted = inserted.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<String>, _>>()?;
    let started = |saga: &&NewRow| {
        if inserted.remove(&saga.id.to_string()) { Ok(()) } else { Err(JournalError::Exists(saga.id)) }
    };
    Ok(sagas.iter().map(started).collect())
}
