//! Reservations and steps read for reconciliation, as they are stored: also what a hand in the database has spoilt.
//!
//! Must not know: what is right.

use amends_sql::{Database, SqlError};
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::{Store, lines, text};

/// A reservation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReservation {
    /// Its id.
    pub id: String,
    /// Whose goods these are.
    pub order: String,
    /// Where it stands: the stored word.
    pub state: String,
    /// Its articles.
    pub lines: Vec<AuditLine>,
}

/// A line of a reservation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditLine {
    /// The article.
    pub sku: String,
    /// Units.
    pub quantity: i64,
    /// Per unit, in minor units.
    pub unit_price_minor: i64,
    /// In which currency.
    pub currency: String,
}

/// What is on record under a step's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditStep {
    /// `saga/step`
    pub key: String,
    /// `open`, `done`, `refused` or `tombstone`.
    pub state: String,
    /// The answer, as JSON.
    pub answer: Option<String>,
}

impl Store {
    /// Its database, for the checks.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Up to `limit` reservations in the order of orders and ids: those after reservation `after.1` of order `after.0`, and of no order
    /// after `upto`, if one is given.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn audit_by_order(
        &self,
        after: (&str, &str),
        upto: Option<&str>,
        limit: u16,
    ) -> Result<Vec<AuditReservation>, SqlError> {
        let to = if upto.is_some() { " AND order_id <= $4" } else { "" };
        let sql = format!(
            "SELECT id, order_id, state, lines FROM reservations WHERE (order_id, id) > ($1, $2){to} \
             ORDER BY order_id, id LIMIT $3"
        );
        let work = async {
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .bind(after.0.to_owned())
                .bind(after.1.to_owned())
                .bind(i64::from(limit));
            if let Some(upto) = upto {
                query = query.bind(upto.to_owned());
            }
            read(&query.fetch_all(self.database.reader()).await?)
        };
        self.database.bounded(work).await
    }

    /// What is on record under those of these keys that are. As many as a page has: each is a parameter of one statement.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn audit_steps(&self, keys: &[String]) -> Result<Vec<AuditStep>, SqlError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql =
            format!("SELECT step_key, state, answer FROM saga_barrier WHERE step_key IN {}", text::list(1, keys.len()));
        let work = async {
            let query = keys.iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, key| query.bind(key.clone()));
            let rows: Vec<(String, String, Option<String>)> = query.fetch_all(self.database.reader()).await?;
            Ok(rows.into_iter().map(|(key, state, answer)| AuditStep { key, state, answer }).collect())
        };
        self.database.bounded(work).await
    }
}

fn read(rows: &[AnyRow]) -> Result<Vec<AuditReservation>, SqlError> {
    let reservation = |row: &AnyRow| {
        // Lines that a hand has spoilt are none, which the checks find.
        let lines = lines::raw(&row.try_get::<String, _>("lines")?).unwrap_or_default();
        let line = |line: lines::StoredLine| AuditLine {
            sku: line.sku,
            quantity: line.quantity,
            unit_price_minor: line.price_minor,
            currency: line.currency,
        };
        Ok(AuditReservation {
            id: row.try_get("id")?,
            order: row.try_get("order_id")?,
            state: row.try_get("state")?,
            lines: lines.into_iter().map(line).collect(),
        })
    };
    rows.iter().map(reservation).collect()
}
