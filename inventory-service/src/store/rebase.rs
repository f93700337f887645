//! Holds that were made by a clock that has been set back since, a batch at a time.

use std::time::Duration;

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::Work;

/// A hold that was made less far ahead may be of a replica whose clock is: cut by the wrong one of two clocks, it would end under a saga
/// that is running. It ends that much later at the most.
const SKEW_MAX: Duration = Duration::from_mins(5);

pub(super) struct Rebase {
    pub(super) now: Timestamp,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for Rebase {
    type Output = u64;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<u64, SqlError> {
        // A hold has not changed since it was made.
        let sql = format!(
            "UPDATE reservations SET expires_at = $1 + (expires_at - changed_at), changed_at = $1 WHERE id IN
             (SELECT id FROM reservations WHERE state = 'held' AND expires_at > $1 AND changed_at > $2 LIMIT $3{})",
            dialect.for_update_skip_locked()
        );
        let moved = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(self.now.as_micros())
            .bind((self.now + SKEW_MAX).as_micros())
            .bind(i64::from(self.limit))
            .execute(&mut **tx)
            .await?;
        Ok(moved.rows_affected())
    }
}
