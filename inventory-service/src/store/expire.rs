//! Letting overdue reservations go, a batch at a time.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{Work, stock, text};
use crate::{
    domain::{State, StockMove},
    ports::Expired,
};

pub(super) struct Expire {
    pub(super) now: Timestamp,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for Expire {
    type Output = Expired;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Expired, SqlError> {
        // Rows that another transaction has locked are being committed, released or expired right now: not our business any more.
        // The WHERE clause is `Reservation::expire` in SQL; the conformance suite checks that they agree.
        let sql = format!(
            "SELECT id FROM reservations WHERE state = 'held' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2{}",
            dialect.for_update_skip_locked()
        );
        let due: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(self.now.as_micros())
            .bind(i64::from(self.limit))
            .fetch_all(&mut **tx)
            .await?;
        if due.is_empty() {
            return Ok(Expired { count: 0, may_have_more: false });
        }
        let sql = format!(
            "SELECT sku, CAST(SUM(quantity) AS BIGINT) FROM reservation_lines WHERE reservation_id IN {} GROUP BY sku ORDER BY sku",
            text::list(1, due.len())
        );
        let query = due.iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, (id,)| query.bind(id.as_str()));
        let held: Vec<(String, i64)> = query.fetch_all(&mut **tx).await?;
        let units: Vec<(&str, i64)> = held.iter().map(|(sku, units)| (sku.as_str(), *units)).collect();
        let sql =
            format!("UPDATE reservations SET state = $1, changed_at = $2 WHERE id IN {}", text::list(3, due.len()));
        let query = sqlx::query(AssertSqlSafe(sql)).bind(State::Expired.name()).bind(self.now.as_micros());
        let query = due.iter().fold(query, |query, (id,)| query.bind(id.as_str()));
        query.execute(&mut **tx).await?;
        stock::apply_units(tx, dialect, &units, StockMove::Unreserve, self.now).await?;
        Ok(Expired { count: due.len(), may_have_more: due.len() == self.limit as usize })
    }
}
