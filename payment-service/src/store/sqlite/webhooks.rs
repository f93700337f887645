//! Webhooks in SQLite: the outbox is a table that changes in the payment's own transaction, the deliveries are another.
//!
//! Must not know: when a delivery is tried again.

use std::fmt::Write as _;

use amends_primitives::Timestamp;
use amends_sql::{SqlError, Tx};
use async_trait::async_trait;
use sqlx::{Row as _, any::AnyRow};

use super::SqliteStore;
use super::failed::Failed;
use crate::store::{
    StoreError,
    document::webhook::{DeliveryDocument, OutgoingDocument, SettledFields, ids_of_event, ids_of_payment, payment_of},
};
use amends_webhooks::{
    delivery::{AttemptOutcome, Delivery, delivery_id},
    event::Outgoing,
    store::{Backlog, DELIVERIES_PAGE_MAX, DeliveryQuery, NewDelivery, Redeliver, WebhookStore},
};

const COLUMNS: &str = "delivery_id, event_id, endpoint, kind, payment_id, order_id, body, created_at, began_at, state, due_at, \
leased, attempts, tries, attempted_at, answer, done_at";

/// Puts an event into the outbox, in the transaction of the change it tells of.
pub(super) async fn put_in_tx(tx: &mut Tx, event: &Outgoing) -> Result<(), Failed> {
    let document = OutgoingDocument::from(event);
    sqlx::query(
        "INSERT INTO webhook_outbox (event_id, kind, at, payment_id, order_id, body) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(document.id)
    .bind(document.kind)
    .bind(document.at)
    .bind(payment_of(event)?.to_string())
    .bind(event.order_id.to_string())
    .bind(document.body)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn column<'r, T>(row: &'r AnyRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    Ok(row.try_get(name).map_err(SqlError::from)?)
}

fn read_event(row: &AnyRow) -> Result<Outgoing, StoreError> {
    let document = OutgoingDocument {
        id: column(row, "event_id")?,
        kind: column(row, "kind")?,
        at: column(row, "at")?,
        body: column(row, "body")?,
    };
    document.read(&column::<String>(row, "payment_id")?, &column::<String>(row, "order_id")?)
}

fn read_delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let document = DeliveryDocument {
        id: column(row, "delivery_id")?,
        event_id: column(row, "event_id")?,
        endpoint: column(row, "endpoint")?,
        kind: column(row, "kind")?,
        payment_id: column(row, "payment_id")?,
        order_id: column(row, "order_id")?,
        body: column(row, "body")?,
        created_at: column(row, "created_at")?,
        began_at: column(row, "began_at")?,
        state: column(row, "state")?,
        due_at: column(row, "due_at")?,
        leased: column::<i64>(row, "leased")? != 0,
        attempts: column(row, "attempts")?,
        tries: column(row, "tries")?,
        attempted_at: column(row, "attempted_at")?,
        answer: column(row, "answer")?,
        done_at: column(row, "done_at")?,
    };
    document.try_into()
}

#[async_trait]
impl WebhookStore for SqliteStore {
    type Error = StoreError;

    async fn outbox(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let sql =
            "SELECT event_id, kind, at, payment_id, order_id, body FROM webhook_outbox ORDER BY at, event_id LIMIT $1";
        let rows = self
            .database
            .bounded(async {
                let query = sqlx::query(sql).bind(i64::from(limit));
                query.fetch_all(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        rows.iter().map(read_event).collect()
    }

    async fn enqueue(&self, deliveries: &[NewDelivery<'_>]) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO webhook_deliveries ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, \
             NULL, NULL, NULL) ON CONFLICT (delivery_id) DO NOTHING"
        );
        self.database
            .bounded(async {
                let mut tx = self.database.begin().await?;
                for delivery in deliveries {
                    let document = DeliveryDocument::try_from(delivery)?;
                    sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                        .bind(document.id)
                        .bind(document.event_id)
                        .bind(document.endpoint)
                        .bind(document.kind)
                        .bind(document.payment_id)
                        .bind(document.order_id)
                        .bind(document.body)
                        .bind(document.created_at)
                        .bind(document.began_at)
                        .bind(document.state)
                        .bind(document.due_at)
                        .execute(&mut *tx)
                        .await
                        .map_err(SqlError::from)?;
                }
                Ok(tx.commit().await.map_err(SqlError::from)?)
            })
            .await
    }

    async fn clear(&self, events: &[Outgoing]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.database
            .bounded(async {
                let mut tx = self.database.begin().await?;
                for event in events {
                    sqlx::query("DELETE FROM webhook_outbox WHERE event_id = $1")
                        .bind(event.id.clone())
                        .execute(&mut *tx)
                        .await
                        .map_err(SqlError::from)?;
                }
                Ok(tx.commit().await.map_err(SqlError::from)?)
            })
            .await
    }

    async fn claim_due(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Delivery>, StoreError> {
        let sql = format!(
            "UPDATE webhook_deliveries SET due_at = $3, leased = 1, attempted_at = $2, attempts = attempts + 1, \
             tries = tries + 1 WHERE delivery_id = (SELECT delivery_id FROM webhook_deliveries \
             WHERE endpoint = $1 AND state = 'pending' AND due_at <= $2 ORDER BY due_at LIMIT 1) RETURNING {COLUMNS}"
        );
        let row = self
            .database
            .bounded(async {
                let query = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(endpoint.to_owned())
                    .bind(now.as_micros())
                    .bind(until.as_micros());
                query.fetch_optional(self.database.writer()).await.map_err(SqlError::from)
            })
            .await?;
        row.as_ref().map(read_delivery).transpose()
    }

    async fn settle(&self, claimed: &Delivery, settlement: &AttemptOutcome) -> Result<bool, StoreError> {
        let fields = SettledFields::from(settlement);
        let sql = "UPDATE webhook_deliveries SET state = $2, leased = 0, answer = $3, due_at = COALESCE($4, due_at), \
                   done_at = $5 WHERE delivery_id = $1 AND state = 'pending' AND (attempts = $6 OR $7 = 0)";
        let updated = self
            .database
            .bounded(async {
                let query = sqlx::query(sql)
                    .bind(claimed.id())
                    .bind(fields.state)
                    .bind(settlement.answer.clone())
                    .bind(fields.due_at)
                    .bind(fields.done_at)
                    .bind(claimed.attempts)
                    .bind(i64::from(fields.newest_only));
                query.execute(self.database.writer()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(updated.rows_affected() == 1)
    }

    async fn backlog(&self, endpoint: &str) -> Result<Backlog, StoreError> {
        let sql = "SELECT MIN(due_at), MIN(began_at) FROM webhook_deliveries WHERE endpoint = $1 AND state = 'pending'";
        let (next_due, oldest): (Option<i64>, Option<i64>) = self
            .database
            .bounded(async {
                let query = sqlx::query_as(sql).bind(endpoint.to_owned());
                query.fetch_one(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(Backlog { next_due: next_due.map(Timestamp::from_micros), oldest: oldest.map(Timestamp::from_micros) })
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<(Vec<Delivery>, bool), StoreError> {
        let limit = query.limit.clamp(1, DELIVERIES_PAGE_MAX);
        let mut sql = format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE 1 = 1");
        let mut values = Vec::new();
        let mut only = |condition: &str, value: Option<String>| {
            if let Some(value) = value {
                values.push(value);
                let _ = write!(sql, " AND {condition} ${}", values.len()); // cannot fail
            }
        };
        only("state =", query.state.map(|state| state.name().to_owned()));
        only("endpoint =", query.endpoint.clone());
        only("order_id =", query.order_id.map(|order| order.to_string()));
        let (from, to) = query.payment_id.map(ids_of_payment).unzip();
        only("delivery_id >=", from);
        only("delivery_id <", to);
        only("delivery_id <", query.after.clone());
        let _ = write!(sql, " ORDER BY delivery_id DESC LIMIT {}", limit + 1);
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
        let page: Result<_, _> = rows.iter().take(limit as usize).map(read_delivery).collect();
        Ok((page?, rows.len() > limit as usize))
    }

    async fn redeliver(&self, which: &Redeliver, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let (condition, values) = match which {
            Redeliver::Event { id, endpoint: Some(endpoint) } => {
                ("leased = 0 AND delivery_id = $3".to_owned(), vec![delivery_id(id, endpoint)])
            }
            Redeliver::Event { id, endpoint: None } => {
                let (from, to) = ids_of_event(id);
                ("leased = 0 AND delivery_id >= $3 AND delivery_id < $4".to_owned(), vec![from, to])
            }
            Redeliver::Dead { endpoint, before } => {
                let before = before.as_micros();
                (format!("state = 'dead' AND endpoint = $3 AND done_at < {before}"), vec![endpoint.clone()])
            }
        };
        let sql = format!(
            "UPDATE webhook_deliveries SET state = 'pending', due_at = $1, began_at = $1, tries = 0, leased = 0, \
             done_at = NULL WHERE delivery_id IN (SELECT delivery_id FROM webhook_deliveries WHERE {condition} LIMIT $2)"
        );
        let updated = self
            .database
            .bounded(async {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now.as_micros()).bind(i64::from(limit));
                for value in values {
                    query = query.bind(value);
                }
                query.execute(self.database.writer()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(updated.rows_affected())
    }

    async fn rebase(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let sql = "UPDATE webhook_deliveries SET \
                   due_at = CASE WHEN tries = 0 THEN $2 ELSE $2 + MAX(due_at - attempted_at, 0) END, \
                   attempted_at = CASE WHEN tries = 0 THEN attempted_at ELSE $2 END \
                   WHERE delivery_id IN (SELECT delivery_id FROM webhook_deliveries WHERE endpoint = $1 \
                   AND state = 'pending' AND due_at > $2 AND CASE WHEN tries = 0 THEN began_at ELSE attempted_at END > $2 LIMIT $3)";
        let moved = self
            .database
            .bounded(async {
                let query = sqlx::query(sql).bind(endpoint.to_owned()).bind(now.as_micros()).bind(i64::from(limit));
                query.execute(self.database.writer()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(moved.rows_affected())
    }

    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM webhook_deliveries WHERE delivery_id IN \
                   (SELECT delivery_id FROM webhook_deliveries WHERE done_at < $1 LIMIT $2)";
        let deleted = self
            .database
            .bounded(async {
                let query = sqlx::query(sql).bind(before.as_micros()).bind(i64::from(limit));
                query.execute(self.database.writer()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(deleted.rows_affected())
    }
}
