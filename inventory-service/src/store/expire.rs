//! Letting overdue reservations go, a batch at a time.

use std::collections::BTreeMap;

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{Work, lines, stock, text};
use crate::{
    domain::{Sku, State, StockMove},
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
        // Rows that another transaction holds are being committed, released or expired right now: not our business any more. The WHERE
        // clause is the rule for `Command::Expire` in SQL; the conformance suite checks that they agree.
        let sql = format!(
            "SELECT id, lines FROM reservations WHERE state = 'held' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2{}",
            dialect.for_update_skip_locked()
        );
        let due: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(self.now.as_micros())
            .bind(i64::from(self.limit))
            .fetch_all(&mut **tx)
            .await?;
        if due.is_empty() {
            return Ok(Expired { count: 0, may_have_more: false });
        }
        let mut held = BTreeMap::<Sku, i64>::new();
        for (_, lines) in &due {
            for line in lines::read(lines)? {
                *held.entry(line.sku).or_default() += i64::from(line.quantity);
            }
        }
        let units: Vec<(&str, i64)> = held.iter().map(|(sku, units)| (sku.as_str(), *units)).collect();
        let sql =
            format!("UPDATE reservations SET state = $1, changed_at = $2 WHERE id IN {}", text::list(3, due.len()));
        let query = sqlx::query(AssertSqlSafe(sql)).bind(State::Expired.name()).bind(self.now.as_micros());
        let query = due.iter().fold(query, |query, (id, _)| query.bind(id.as_str()));
        query.execute(&mut **tx).await?;
        stock::apply_units(tx, dialect, &units, StockMove::Unreserve, self.now).await?;
        Ok(Expired { count: due.len(), may_have_more: due.len() == self.limit as usize })
    }
}
