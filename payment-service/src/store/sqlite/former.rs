//! The old books in SQLite: a table of another component in the payments' own file.

use acquirer::store::FormerLine;
use amends_sql::SqlError;
use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{StoreError, former::FormerLedger};

#[async_trait]
impl FormerLedger for SqliteStore {
    async fn former_lines(&self, after: &str, limit: u32) -> Result<Vec<FormerLine>, StoreError> {
        let there = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'simulated_processor'";
        let sql = "SELECT idempotency_key, version, line FROM simulated_processor WHERE idempotency_key > $1 \
                   ORDER BY idempotency_key LIMIT $2";
        self.database
            .bounded(async {
                let (tables,): (i64,) =
                    sqlx::query_as(there).fetch_one(self.database.reader()).await.map_err(SqlError::from)?;
                if tables == 0 {
                    return Ok(Vec::new());
                }
                let query = sqlx::query_as(sql).bind(after.to_owned()).bind(i64::from(limit));
                let rows: Vec<(String, i64, String)> =
                    query.fetch_all(self.database.reader()).await.map_err(SqlError::from)?;
                Ok(rows.into_iter().map(|(key, version, line)| FormerLine { key, version, line }).collect())
            })
            .await
    }

    async fn forget_former(&self) -> Result<(), StoreError> {
        self.database
            .bounded(async {
                let mut tx = self.database.begin().await?;
                for table in ["simulated_processor", "_simulated_processor_migrations"] {
                    let drop = sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"));
                    sqlx::query(drop).execute(&mut *tx).await.map_err(SqlError::from)?;
                }
                Ok(tx.commit().await.map_err(SqlError::from)?)
            })
            .await
    }
}
