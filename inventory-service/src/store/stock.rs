//! Moving units of several items in one statement, their rows locked in SKU order.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use sqlx::AssertSqlSafe;

use super::text;
use crate::domain::{PricedLine, StockMove};

/// Takes units off sale for a new reservation. The items' rows are locked by the caller, who has checked that there are enough.
pub(super) async fn reserve(tx: &mut Tx, lines: &[PricedLine], now: Timestamp) -> Result<(), SqlError> {
    change(tx, &units(lines), now, Signs { on_hand: 0, reserved: 1 }).await
}

/// Does to the stock of `lines` what a transition asks for.
pub(super) async fn apply(
    tx: &mut Tx,
    dialect: Dialect,
    lines: &[PricedLine],
    moved: StockMove,
    now: Timestamp,
) -> Result<(), SqlError> {
    apply_units(tx, dialect, &units(lines), moved, now).await
}

/// As [`apply`], for units already summed up by SKU.
pub(super) async fn apply_units(
    tx: &mut Tx,
    dialect: Dialect,
    units: &[(&str, i64)],
    moved: StockMove,
    now: Timestamp,
) -> Result<(), SqlError> {
    // An UPDATE of several rows locks them in whatever order it finds them; two such could wait for each other.
    if dialect == Dialect::Postgres && units.len() > 1 {
        let sql = format!("SELECT sku FROM items WHERE sku IN {} ORDER BY sku FOR UPDATE", text::list(1, units.len()));
        let query = units.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, (sku, _)| query.bind(*sku));
        query.execute(&mut **tx).await?;
    }
    let signs = match moved {
        StockMove::Unreserve => Signs { on_hand: 0, reserved: -1 },
        StockMove::Sell => Signs { on_hand: -1, reserved: -1 },
        StockMove::PutBack => Signs { on_hand: 1, reserved: 0 },
    };
    change(tx, units, now, signs).await
}

struct Signs {
    on_hand: i64,
    reserved: i64,
}

fn units(lines: &[PricedLine]) -> Vec<(&str, i64)> {
    lines.iter().map(|line| (line.sku.as_str(), i64::from(line.quantity))).collect()
}

async fn change(tx: &mut Tx, units: &[(&str, i64)], now: Timestamp, signs: Signs) -> Result<(), SqlError> {
    let sql = format!(
        "UPDATE items SET on_hand = items.on_hand + $1 * moved.column2, reserved = items.reserved + $2 * moved.column2, \
         updated_at = $3 FROM (VALUES {}) AS moved WHERE items.sku = moved.column1",
        text::rows(4, units.len(), 2)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(signs.on_hand).bind(signs.reserved).bind(now.as_micros());
    for (sku, quantity) in units {
        query = query.bind(*sku).bind(*quantity);
    }
    let changed = query.execute(&mut **tx).await?.rows_affected();
    // Items are never deleted, so every line has its row.
    if usize::try_from(changed) == Ok(units.len()) { Ok(()) } else { Err(SqlError::Corrupt { what: "items" }) }
}
