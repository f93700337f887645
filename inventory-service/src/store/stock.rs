//! Moving units of several items in one statement, their rows locked in SKU order.
//!
//! Called last in a transaction: a popular item's row is what all buyers wait for, so it is held for the commit only, and not for
//! the statements before it.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use sqlx::{Any, AssertSqlSafe, any::AnyArguments, query::Query};

use super::text;
use crate::domain::{PricedLine, StockMove};

/// Takes the units of a new reservation off sale, if there still are enough of each at the price of its line. `false`: another
/// transaction changed an item since it was read, and the transaction must be rolled back.
pub(super) async fn reserve(
    tx: &mut Tx,
    dialect: Dialect,
    lines: &[PricedLine],
    now: Timestamp,
) -> Result<bool, SqlError> {
    lock_in_order(tx, dialect, lines.iter().map(|line| line.sku.as_str())).await?;
    let sql = match lines.len() {
        // Most orders have one line: no table of values is made for it.
        1 => "UPDATE items SET reserved = reserved + $3, updated_at = $1 \
              WHERE sku = $2 AND on_hand - reserved >= $3 AND price_minor = $4 AND currency = $5"
            .to_owned(),
        lines => format!(
            "UPDATE items SET reserved = items.reserved + asked.column2, updated_at = $1 FROM (VALUES {}) AS asked \
             WHERE items.sku = asked.column1 AND items.on_hand - items.reserved >= asked.column2 \
             AND items.price_minor = asked.column3 AND items.currency = asked.column4",
            text::rows(2, lines, 4)
        ),
    };
    let changed = with_lines(sql, lines, now).execute(&mut **tx).await?.rows_affected();
    Ok(usize::try_from(changed) == Ok(lines.len()))
}

/// As [`reserve`], but all or nothing, and `false` leaves the transaction as it was: nothing was taken. It reads what it changes, so it is for
/// a database with one writer: elsewhere another could change an item in between.
pub(super) async fn reserve_all(tx: &mut Tx, lines: &[PricedLine], now: Timestamp) -> Result<bool, SqlError> {
    if lines.len() == 1 {
        return reserve(tx, Dialect::Sqlite, lines, now).await;
    }
    let sql = format!(
        "WITH asked (sku, units, minor, currency) AS (VALUES {}) \
         UPDATE items SET reserved = items.reserved + asked.units, updated_at = $1 FROM asked WHERE items.sku = asked.sku \
         AND {} = (SELECT COUNT(*) FROM asked a JOIN items i ON i.sku = a.sku AND i.on_hand - i.reserved >= a.units \
             AND i.price_minor = a.minor AND i.currency = a.currency)",
        text::rows(2, lines.len(), 4),
        lines.len()
    );
    Ok(with_lines(sql, lines, now).execute(&mut **tx).await?.rows_affected() > 0)
}

/// The time, and for each line its four values.
fn with_lines(sql: String, lines: &[PricedLine], now: Timestamp) -> Query<'static, Any, AnyArguments> {
    let query = sqlx::query(AssertSqlSafe(sql)).bind(now.as_micros());
    lines.iter().fold(query, |query, line| {
        query
            .bind(line.sku.as_str().to_owned())
            .bind(i64::from(line.quantity))
            .bind(line.unit_price.amount_minor())
            .bind(line.unit_price.currency().code().to_owned())
    })
}

/// Does to the stock of `lines` what an event asks for.
pub(super) async fn apply(
    tx: &mut Tx,
    dialect: Dialect,
    lines: &[PricedLine],
    moved: StockMove,
    now: Timestamp,
) -> Result<(), SqlError> {
    let units: Vec<(&str, i64)> = lines.iter().map(|line| (line.sku.as_str(), i64::from(line.quantity))).collect();
    apply_units(tx, dialect, &units, moved, now).await
}

/// As [`apply`], for units already summed up by SKU.
pub(super) async fn apply_units(
    tx: &mut Tx,
    dialect: Dialect,
    units: &[(&str, i64)],
    moved: StockMove,
    now: Timestamp,
) -> Result<(), SqlError> {
    let (on_hand, reserved) = match moved {
        StockMove::Unreserve => (0_i64, -1_i64),
        StockMove::Sell => (-1, -1),
        StockMove::PutBack => (1, 0),
    };
    lock_in_order(tx, dialect, units.iter().map(|(sku, _)| *sku)).await?;
    let sql = match units.len() {
        1 => "UPDATE items SET on_hand = on_hand + $1 * $5, reserved = reserved + $2 * $5, updated_at = $3 WHERE sku = $4"
            .to_owned(),
        items => format!(
            "UPDATE items SET on_hand = items.on_hand + $1 * moved.column2, \
             reserved = items.reserved + $2 * moved.column2, updated_at = $3 FROM (VALUES {}) AS moved \
             WHERE items.sku = moved.column1",
            text::rows(4, items, 2)
        ),
    };
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(on_hand).bind(reserved).bind(now.as_micros());
    for (sku, quantity) in units {
        query = query.bind(*sku).bind(*quantity);
    }
    let changed = query.execute(&mut **tx).await?.rows_affected();
    // Items are never deleted, so every line has its row.
    if usize::try_from(changed) == Ok(units.len()) { Ok(()) } else { Err(SqlError::Corrupt { what: "items" }) }
}

/// An UPDATE of several rows locks them in whatever order it finds them; two such could wait for each other.
async fn lock_in_order<'s>(
    tx: &mut Tx,
    dialect: Dialect,
    skus: impl ExactSizeIterator<Item = &'s str> + Send,
) -> Result<(), SqlError> {
    if dialect == Dialect::Sqlite || skus.len() < 2 {
        return Ok(());
    }
    let sql = format!("SELECT sku FROM items WHERE sku IN {} ORDER BY sku FOR UPDATE", text::list(1, skus.len()));
    skus.fold(sqlx::query(AssertSqlSafe(sql)), sqlx::query::Query::bind).execute(&mut **tx).await?;
    Ok(())
}
