//! The ledger read for reconciliation, as it is stored: also what a hand in the database has spoilt. One such line must not keep the
//! audit from the others.
//!
//! Must not know: what is right.

use amends_sql::SqlError;
use sqlx::AssertSqlSafe;

use super::SqlLedger;
use crate::{
    domain::Entry,
    ledger::{LedgerError, decode},
};

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The idempotency key of the charge or the authorization.
    pub key: String,
    /// What is known under it; or why that cannot be read.
    pub entry: Result<Entry, String>,
}

impl SqlLedger {
    /// Lines by key, after `after` and not after `upto`, if one is given.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn lines(&self, after: &str, upto: Option<&str>, limit: u32) -> Result<Vec<Line>, LedgerError> {
        let upto_too = if upto.is_some() { " AND idempotency_key <= $2" } else { "" };
        let condition = format!("idempotency_key > $1{upto_too} ORDER BY idempotency_key LIMIT {limit}");
        self.lines_where(&condition, [Some(after), upto]).await
    }

    /// The line of one key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn line(&self, key: &str) -> Result<Option<Line>, LedgerError> {
        Ok(self.lines_where("idempotency_key = $1", [Some(key), None]).await?.pop())
    }

    async fn lines_where(&self, condition: &str, values: [Option<&str>; 2]) -> Result<Vec<Line>, LedgerError> {
        let sql = format!("SELECT idempotency_key, version, line FROM acquirer_lines WHERE {condition}");
        let rows: Vec<(String, i64, String)> = self
            .database
            .bounded(async {
                let query = sqlx::query_as(AssertSqlSafe(sql));
                let query = values.into_iter().flatten().fold(query, |query, value| query.bind(value.to_owned()));
                query.fetch_all(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        let read = |(key, version, line): (String, i64, String)| {
            let entry = decode(&key, version, &line).map_err(|error| error.to_string());
            Line { key, entry }
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
