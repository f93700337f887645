//! Rows of reservations and their lines.

use amends_primitives::{OrderId, ReservationId, Timestamp};
use amends_sql::{Database, Dialect, SqlError, Tx};
use sqlx::{Any, AssertSqlSafe, Executor};

use super::text;
use crate::{
    domain::{PricedLine, Quantity, Reservation, State},
    ports::{ReservationPage, StoreError},
};

/// A reservation with one of its lines.
type Row = (String, String, String, i64, i64, String, i64, i64, String);

const COLUMNS: &str =
    "r.id, r.order_id, r.state, r.expires_at, r.created_at, l.sku, l.quantity, l.price_minor, l.currency";

const JOIN: &str = "reservations r JOIN reservation_lines l ON l.reservation_id = r.id";

/// Reads one reservation.
pub(super) async fn load(tx: &mut Tx, id: ReservationId) -> Result<Option<Reservation>, SqlError> {
    one(&mut **tx, id, "").await
}

/// Reads one reservation that this transaction is going to change, and keeps others from changing it.
pub(super) async fn lock(tx: &mut Tx, dialect: Dialect, id: ReservationId) -> Result<Option<Reservation>, SqlError> {
    let lock = match dialect {
        // Only the reservation: its lines never change.
        Dialect::Postgres => " FOR UPDATE OF r",
        Dialect::Sqlite => "",
    };
    one(&mut **tx, id, lock).await
}

async fn one<'c>(
    executor: impl Executor<'c, Database = Any>,
    id: ReservationId,
    suffix: &str,
) -> Result<Option<Reservation>, SqlError> {
    let sql = format!("SELECT {COLUMNS} FROM {JOIN} WHERE r.id = $1 ORDER BY l.position{suffix}");
    let rows = sqlx::query_as(AssertSqlSafe(sql)).bind(id.to_string()).fetch_all(executor).await?;
    Ok(assemble(rows)?.pop())
}

/// Rows in (id, position) order become reservations.
fn assemble(rows: Vec<Row>) -> Result<Vec<Reservation>, SqlError> {
    let mut reservations: Vec<Reservation> = Vec::new();
    for (id, order, state, expires_at, created_at, sku, quantity, price_minor, currency) in rows {
        let id = text::parsed(&id, "reservation id")?;
        let quantity = u32::try_from(quantity).ok().and_then(Quantity::try_new);
        let line = PricedLine {
            sku: text::parsed(&sku, "sku")?,
            quantity: quantity.ok_or(SqlError::Corrupt { what: "quantity" })?,
            unit_price: text::money(price_minor, &currency)?,
        };
        match reservations.last_mut() {
            Some(last) if last.id == id => last.lines.push(line),
            _ => reservations.push(Reservation {
                id,
                order: text::parsed(&order, "order id")?,
                state: State::from_name(&state).ok_or(SqlError::Corrupt { what: "reservation state" })?,
                lines: vec![line],
                expires_at: Timestamp::from_micros(expires_at),
                created_at: Timestamp::from_micros(created_at),
            }),
        }
    }
    Ok(reservations)
}

/// Writes a new reservation and its lines.
pub(super) async fn insert(tx: &mut Tx, reservation: &Reservation) -> Result<(), SqlError> {
    sqlx::query(
        "INSERT INTO reservations (id, order_id, state, expires_at, created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(reservation.id.to_string())
    .bind(reservation.order.to_string())
    .bind(reservation.state.name())
    .bind(reservation.expires_at.as_micros())
    .bind(reservation.created_at.as_micros())
    .execute(&mut **tx)
    .await?;
    let sql = format!(
        "INSERT INTO reservation_lines (reservation_id, position, sku, quantity, price_minor, currency) VALUES {}",
        text::rows(1, reservation.lines.len(), 6)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (position, line) in (0_i64..).zip(&reservation.lines) {
        query = query
            .bind(reservation.id.to_string())
            .bind(position)
            .bind(line.sku.as_str())
            .bind(i64::from(line.quantity))
            .bind(line.unit_price.amount_minor())
            .bind(line.unit_price.currency().code().to_owned());
    }
    query.execute(&mut **tx).await?;
    Ok(())
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
    // The page is cut before the join, or a reservation could lose lines. One more than asked for tells whether there is more.
    let of_order = if order.is_some() { " AND order_id = $3" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT id, order_id, state, expires_at, created_at FROM reservations \
         WHERE id > $1{of_order} ORDER BY id LIMIT $2) r \
         JOIN reservation_lines l ON l.reservation_id = r.id ORDER BY r.id, l.position"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql))
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    if let Some(order) = order {
        query = query.bind(order.to_string());
    }
    let rows = async { Ok::<_, StoreError>(query.fetch_all(database.reader()).await?) };
    let mut reservations = assemble(database.bounded(rows).await?)?;
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
