//! Rows of reservations.

use amends_primitives::{OrderId, ReservationId, Timestamp};
use amends_sql::{Database, Dialect, SqlError, Tx};
use sqlx::{Any, AssertSqlSafe, Executor};

use super::{lines, text};
use crate::{
    domain::{Reservation, State},
    ports::{ReservationPage, StoreError},
};

type Row = (String, String, String, i64, i64, String);

const COLUMNS: &str = "id, order_id, state, expires_at, created_at, lines";

/// Reads one reservation.
pub(super) async fn load(tx: &mut Tx, id: ReservationId) -> Result<Option<Reservation>, SqlError> {
    one(&mut **tx, id, "").await
}

/// Reads one reservation that this transaction is going to change, and keeps others from changing it.
pub(super) async fn lock(tx: &mut Tx, dialect: Dialect, id: ReservationId) -> Result<Option<Reservation>, SqlError> {
    one(&mut **tx, id, dialect.for_update()).await
}

async fn one<'c>(
    executor: impl Executor<'c, Database = Any>,
    id: ReservationId,
    suffix: &str,
) -> Result<Option<Reservation>, SqlError> {
    let sql = format!("SELECT {COLUMNS} FROM reservations WHERE id = $1{suffix}");
    sqlx::query_as(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(executor).await?.map(reservation).transpose()
}

fn reservation((id, order, state, expires_at, created_at, lines): Row) -> Result<Reservation, SqlError> {
    Ok(Reservation {
        id: text::parsed(&id, "reservation id")?,
        order: text::parsed(&order, "order id")?,
        state: State::from_name(&state).ok_or(SqlError::Corrupt { what: "reservation state" })?,
        lines: lines::read(&lines)?,
        expires_at: Timestamp::from_micros(expires_at),
        created_at: Timestamp::from_micros(created_at),
    })
}

/// Writes a new reservation.
pub(super) async fn insert(tx: &mut Tx, reservation: &Reservation) -> Result<(), SqlError> {
    sqlx::query(
        "INSERT INTO reservations (id, order_id, state, expires_at, created_at, changed_at, lines) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(reservation.id.to_string())
    .bind(reservation.order.to_string())
    .bind(reservation.state.name())
    .bind(reservation.expires_at.as_micros())
    .bind(reservation.created_at.as_micros())
    .bind(reservation.created_at.as_micros())
    .bind(lines::write(&reservation.lines)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// From where to where a reservation goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) from: State,
    pub(super) to: State,
    /// Only before its time has passed.
    pub(super) in_time: bool,
}

/// Moves a reservation that is where it is expected, and returns it as it is then. The WHERE clause is the rule for this move in SQL; the
/// conformance suite checks that they agree.
pub(super) async fn move_if(
    tx: &mut Tx,
    id: ReservationId,
    Move { from, to, in_time }: Move,
    now: Timestamp,
) -> Result<Option<Reservation>, SqlError> {
    let in_time = if in_time { " AND expires_at > $2" } else { "" };
    let sql = format!(
        "UPDATE reservations SET state = $1, changed_at = $2 WHERE id = $3 AND state = $4{in_time} RETURNING {COLUMNS}"
    );
    let moved = sqlx::query_as(AssertSqlSafe(sql))
        .bind(to.name())
        .bind(now.as_micros())
        .bind(id.to_string())
        .bind(from.name())
        .fetch_optional(&mut **tx)
        .await?;
    moved.map(reservation).transpose()
}

/// Writes where a reservation stands now.
pub(super) async fn set_state(tx: &mut Tx, id: ReservationId, state: State, now: Timestamp) -> Result<(), SqlError> {
    sqlx::query("UPDATE reservations SET state = $2, changed_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(state.name())
        .bind(now.as_micros())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn find(database: &Database, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
    Ok(database.bounded(one(database.reader(), id, "")).await?)
}

pub(super) async fn list(
    database: &Database,
    order: Option<OrderId>,
    after: Option<ReservationId>,
    limit: usize,
) -> Result<ReservationPage, StoreError> {
    // One more than asked for tells whether there is more.
    let of_order = if order.is_some() { " AND order_id = $3" } else { "" };
    let sql = format!("SELECT {COLUMNS} FROM reservations WHERE id > $1{of_order} ORDER BY id LIMIT $2");
    let mut query = sqlx::query_as(AssertSqlSafe(sql))
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    if let Some(order) = order {
        query = query.bind(order.to_string());
    }
    let rows = async { Ok::<_, StoreError>(query.fetch_all(database.reader()).await?) };
    let rows: Vec<Row> = database.bounded(rows).await?;
    let mut reservations = rows.into_iter().map(reservation).collect::<Result<Vec<_>, _>>()?;
    let more = reservations.len() > limit;
    reservations.truncate(limit);
    let next = reservations.last().filter(|_| more).map(|last| last.id);
    Ok(ReservationPage { reservations, next })
}

pub(super) async fn next_expiry(database: &Database) -> Result<Option<Timestamp>, StoreError> {
    // Not MIN(): on an empty set it is NULL, which the driver cannot type. This reads one entry of the partial index.
    let sql = "SELECT expires_at FROM reservations WHERE state = 'held' ORDER BY expires_at, id LIMIT 1";
    let query = async { Ok::<_, StoreError>(sqlx::query_as(sql).fetch_optional(database.reader()).await?) };
    let next: Option<(i64,)> = database.bounded(query).await?;
    Ok(next.map(|(micros,)| Timestamp::from_micros(micros)))
}
