//! Payments in SQLite, for the embedded way to run: one process, one file.
//!
//! Must not know: when a payment may change.

mod audit;
mod failed;
mod former;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod webhooks;
mod writer;

use std::fmt::Write as _;

use amends_primitives::PaymentId;
use amends_sql::{Database, Options, SqlError};
use async_trait::async_trait;

use self::{
    rows::read_row,
    writer::{Write, Writer, Written},
};
use super::{Claimed, ListQuery, PAGE_SIZE_MAX, Page, PaymentStore, StoreError, Swapped, document};
use crate::domain::{Payment, Record, StepKey};
use amends_webhooks::event::Outgoing;

pub use schema::SCHEMA;

/// A SQLite file. Clones share its connections.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
    writer: Writer,
}

impl SqliteStore {
    /// Opens `url` (`sqlite://payment.db?mode=rwc`); the file is opened at the first call. Call it inside a runtime.
    ///
    /// # Errors
    /// When the URL is not one of SQLite's.
    pub fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        let database = Database::connect_lazy(url, options)?;
        if database.dialect() != amends_sql::Dialect::Sqlite {
            return Err(SqlError::UnsupportedUrl.into());
        }
        let writer = Writer::start(database.clone());
        Ok(Self { database, writer })
    }

    /// The file, to be counted; for tests, to make its disk full.
    #[doc(hidden)]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    async fn one(&self, filter: &'static str, value: String) -> Result<Option<Record>, StoreError> {
        let sql = format!("SELECT document FROM payments WHERE {filter}");
        self.database
            .bounded(async {
                let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(value);
                let row = query.fetch_optional(self.database.reader()).await.map_err(SqlError::from)?;
                row.as_ref().map(read_row).transpose()
            })
            .await
    }
}

#[async_trait]
impl PaymentStore for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(self.database.migrate(&SCHEMA).await?)
    }

    async fn serve_alone(&self, url: &str) -> Result<(), StoreError> {
        self.database.claim(url).await.map_err(|error| StoreError::Misconfigured(Box::new(error)))
    }

    async fn claim(&self, record: &Record) -> Result<Claimed, StoreError> {
        match self.writer.write(Write::Claim(Box::new(document::Document::from(record)))).await? {
            Written::Done => Ok(Claimed::First),
            Written::Lost => match self.load(record.key()).await? {
                Some(taken) => Ok(Claimed::Taken(Box::new(taken))),
                None => Err(StoreError::Contended), // records are never deleted: the reader has not seen it yet
            },
        }
    }

    async fn load(&self, key: &StepKey) -> Result<Option<Record>, StoreError> {
        self.one("step_key = $1", key.to_string()).await
    }

    async fn find(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        Ok(match self.one("payment_id = $1", id.to_string()).await? {
            Some(Record::Payment(payment)) => Some(payment),
            Some(Record::Tombstone { .. }) | None => None,
        })
    }

    async fn swap_with_event(&self, next: &Payment, event: Option<&Outgoing>) -> Result<Swapped, StoreError> {
        let (next, event) = (Box::new(next.into()), event.cloned().map(Box::new));
        Ok(self.writer.write(Write::Swap { next, event }).await?.into())
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, PAGE_SIZE_MAX);
        // Of one time, the order of ids: a page goes on after both of the last one's.
        let (after, order) = if query.by_time() {
            let last = "COALESCE((SELECT created_at FROM payments WHERE payment_id = $1), -9223372036854775807)";
            (format!("(created_at, payment_id) > ({last}, $1)"), "created_at, payment_id")
        } else {
            ("payment_id > $1".to_owned(), "payment_id")
        };
        let mut sql = format!("SELECT document FROM payments WHERE kind = 'payment' AND {after}");
        let mut values = vec![query.after.map_or_else(String::new, |after| after.to_string())];
        let mut only = |column: &str, value: Option<String>| {
            if let Some(value) = value {
                values.push(value);
                let _ = write!(sql, " AND {column} = ${}", values.len()); // cannot fail
            }
        };
        only("order_id", query.order_id.map(|order| order.to_string()));
        only("customer_id", query.customer_id.as_ref().map(|customer| customer.as_str().to_owned()));
        only("status", query.status.map(|status| status.name().to_owned()));
        // Numbers, which need no quoting.
        if let Some(from) = query.created_from {
            let _ = write!(sql, " AND created_at >= {}", from.as_micros());
        }
        if let Some(before) = query.created_before {
            let _ = write!(sql, " AND created_at < {}", before.as_micros());
        }
        // One more than asked for tells whether there is another page.
        let _ = write!(sql, " ORDER BY {order} LIMIT {}", limit + 1);
        let rows = self
            .database
            .bounded(async {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
                for value in values {
                    query = query.bind(value);
                }
                query.fetch_all(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        let more = rows.len() > limit as usize;
        let mut payments = Vec::with_capacity(rows.len());
        for row in rows.iter().take(limit as usize) {
            if let Record::Payment(payment) = read_row(row)? {
                payments.push(payment);
            }
        }
        Ok(Page { payments, more })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.ready().await?)
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

impl From<Written> for Swapped {
    fn from(written: Written) -> Self {
        match written {
            Written::Done => Self::Done,
            Written::Lost => Self::Lost,
        }
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Contended(_) => Self::Contended,
            // At the start only, where the service ends with it: a retry does not help.
            SqlError::Unusable(_)
            | SqlError::UnsupportedUrl
            | SqlError::UnsupportedPath(_)
            | SqlError::Migration(_) => Self::Misconfigured(Box::new(error)),
            error if error.is_unavailable() => Self::Unavailable(Box::new(error)),
            SqlError::Corrupt { what } => Self::Corrupt { what },
            error => Self::Bug(Box::new(error)),
        }
    }
}
