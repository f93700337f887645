//! What the audit reads of SQLite, and what must never be true of the tables beside the payments.

use amends_sql::{
    SqlError,
    checks::{Breach, Check, Slice},
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::{SqliteStore, rows::read_document};
use crate::store::{
    StoreError,
    audit::{AuditPayment, AuditStore, Start},
};

/// The keys of refunds and endings against the payments that have them, and what others were told against what became of payments.
const CHECKS: [Check; 4] = [
    Check {
        code: "effect_key_differs",
        about: "payment",
        sql: "SELECT p.payment_id, p.order_id, 'refund ' || json_extract(r.value, '$.key') || ' is registered for ' \
                || COALESCE('the payment of ' || k.step_key, 'no payment') \
              FROM payment_documents p JOIN json_each(CASE json_type(p.document, '$.refunds') WHEN 'array' THEN p.document END, '$.refunds') r \
                LEFT JOIN payment_effect_keys k ON k.kind = 'refund' AND k.effect_key = json_extract(r.value, '$.key') \
              WHERE {range:p.step_key} AND p.kind = 'payment' AND (k.step_key IS NULL OR k.step_key <> p.step_key)",
    },
    Check {
        code: "effect_key_differs",
        about: "payment",
        sql: "SELECT p.payment_id, p.order_id, 'the end of its hold, ' || json_extract(e.value, '$.key') || ', is registered for ' \
                || COALESCE('the payment of ' || k.step_key, 'no payment') \
              FROM payment_documents p JOIN json_each(CASE json_type(p.document, '$.hold.endings') WHEN 'array' THEN p.document END, '$.hold.endings') e \
                LEFT JOIN payment_effect_keys k ON k.kind = 'ending' AND k.effect_key = json_extract(e.value, '$.key') \
              WHERE {range:p.step_key} AND p.kind = 'payment' \
                AND (k.step_key IS NULL OR k.step_key <> p.step_key)",
    },
    Check {
        code: "webhook_unfounded",
        about: "webhook",
        sql: "SELECT d.delivery_id, d.order_id, d.kind || ' is told of payment ' || d.payment_id || ', which ' \
                || CASE WHEN p.payment_id IS NULL THEN 'does not exist' WHEN p.order_id <> d.order_id THEN 'is for order ' || p.order_id \
                   ELSE 'is ' || p.status END \
              FROM webhook_deliveries d LEFT JOIN payment_documents p ON p.payment_id = d.payment_id AND p.kind = 'payment' \
              WHERE {range:d.delivery_id} AND (p.payment_id IS NULL OR p.order_id <> d.order_id OR NOT CASE d.kind \
                WHEN 'payment.captured' THEN p.document ->> '$.captured_minor' > 0 WHEN 'payment.refunded' THEN p.document ->> '$.refunded_minor' > 0 \
                ELSE p.status = 'declined' END)",
    },
    Check {
        code: "webhook_unfounded",
        about: "webhook",
        sql: "SELECT d.event_id, d.order_id, d.kind || ' is to be told of payment ' || d.payment_id || ', which ' \
                || CASE WHEN p.payment_id IS NULL THEN 'does not exist' WHEN p.order_id <> d.order_id THEN 'is for order ' || p.order_id \
                   ELSE 'is ' || p.status END \
              FROM webhook_outbox d LEFT JOIN payment_documents p ON p.payment_id = d.payment_id AND p.kind = 'payment' \
              WHERE {range:d.event_id} AND (p.payment_id IS NULL OR p.order_id <> d.order_id OR NOT CASE d.kind \
                WHEN 'payment.captured' THEN p.document ->> '$.captured_minor' > 0 WHEN 'payment.refunded' THEN p.document ->> '$.refunded_minor' > 0 \
                ELSE p.status = 'declined' END)",
    },
];

/// The table that a check walks along, and its key.
const TABLES: [(&str, &str); 4] = [
    ("payments", "step_key"),
    ("payments", "step_key"),
    ("webhook_deliveries", "delivery_id"),
    ("webhook_outbox", "event_id"),
];

impl SqliteStore {
    async fn audited(&self, condition: &str, values: &[&str], limit: u32) -> Result<Vec<AuditPayment>, StoreError> {
        let sql =
            format!("SELECT step_key, payment_id, order_id, document FROM payments WHERE {condition} LIMIT {limit}");
        let rows = self
            .database
            .bounded(async {
                let query =
                    values.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind((*value).to_owned()));
                query.fetch_all(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        Ok(rows.iter().map(audited).collect())
    }
}

fn audited(row: &AnyRow) -> AuditPayment {
    match read_document(row) {
        Ok(document) => document.into(),
        Err(error) => {
            let text = |column: &str| row.try_get::<Option<String>, _>(column).ok().flatten().unwrap_or_default();
            let (id, order) = (text("payment_id"), text("order_id"));
            AuditPayment { id, order, ..AuditPayment::unreadable(text("step_key"), error.to_string()) }
        }
    }
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn by_order(&self, from: Start<'_>, upto: Option<&str>, limit: u32) -> Result<Vec<AuditPayment>, StoreError> {
        let (mut condition, mut values) = match from {
            Start::AfterOrder(order) => ("order_id > $1".to_owned(), vec![order]),
            Start::Order(order) => ("order_id >= $1".to_owned(), vec![order]),
            Start::After { order, payment } => ("(order_id, payment_id) > ($1, $2)".to_owned(), vec![order, payment]),
        };
        if let Some(upto) = upto {
            values.push(upto);
            condition.extend([" AND order_id <= $", &values.len().to_string()]);
        }
        condition += " AND kind = 'payment' ORDER BY order_id, payment_id";
        self.audited(&condition, &values, limit).await
    }

    async fn by_key(&self, after: &str, limit: u32) -> Result<Vec<AuditPayment>, StoreError> {
        self.audited("step_key > $1 ORDER BY step_key", &[after], limit).await
    }

    async fn of_key(&self, key: &str) -> Result<Option<AuditPayment>, StoreError> {
        Ok(self.audited("step_key = $1", &[key], 1).await?.pop())
    }

    async fn breaches(&self) -> Result<Vec<Breach>, StoreError> {
        let mut found = Vec::new();
        for (check, (table, key)) in CHECKS.iter().zip(TABLES) {
            let mut after = Some(String::new());
            while let Some(from) = after {
                let slice: Slice = self.database.slice(table, key, &from).await?;
                found.extend(self.database.breaches(check, &slice, 0).await?);
                after = slice.upto;
            }
        }
        Ok(found)
    }
}
