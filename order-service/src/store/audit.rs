//! Orders read for reconciliation: all of them, whoever's they are.

use amends_primitives::OrderId;
use amends_sql::{Database, SqlError};
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::orders::{HEAD, read_row};
use crate::domain::Order;

/// An order without its lines, and the key it was placed under.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// The order; its `lines` are empty.
    pub order: Order,
    /// The key it was placed under.
    pub idempotency_key: String,
}

/// All orders by id, for reconciliation.
///
/// # Errors
/// When the store fails.
pub async fn audit(database: &Database, after: Option<OrderId>, limit: u16) -> Result<Vec<AuditRow>, SqlError> {
    let sql = format!("SELECT {HEAD} FROM orders WHERE id > $1 ORDER BY id LIMIT $2");
    let work = async {
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after.map(|id| id.to_string()).unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(database.reader())
            .await?;
        let read =
            |row: &AnyRow| Ok(AuditRow { order: read_row(row)?, idempotency_key: row.try_get("idempotency_key")? });
        rows.iter().map(read).collect()
    };
    database.bounded(work).await
}

/// Which of these orders there are.
///
/// # Errors
/// When the store fails.
pub async fn known(database: &Database, ids: &[OrderId]) -> Result<Vec<OrderId>, SqlError> {
    let places: Vec<String> = (1..=ids.len()).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT id FROM orders WHERE id IN ({})", places.join(", "));
    let mut query = sqlx::query_as::<_, (String,)>(AssertSqlSafe(sql));
    for id in ids {
        query = query.bind(id.to_string());
    }
    let rows = database.bounded(async { query.fetch_all(database.reader()).await.map_err(SqlError::from) }).await?;
    rows.iter().map(|(id,)| id.parse().map_err(|_| SqlError::Corrupt { what: "orders.id" })).collect()
}
