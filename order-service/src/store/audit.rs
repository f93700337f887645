//! Orders read for reconciliation: those of all customers, as they are stored. Nothing is parsed that a hand in the database
//! could have spoilt: a row that cannot be read as an order must not keep the audit from the others.
//!
//! Must not know: what is right.

use amends_primitives::{Money, Timestamp};
use amends_sql::{
    Database, SqlError,
    checks::{Breach, Slice},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::{
    Subject, lines,
    orders::{HEAD, read_row},
    outbox::payload_of,
};
use crate::domain::{Event, Line, Order, Quantity, Sku, State};

/// An order as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOrder {
    /// Its id.
    pub id: String,
    /// Who ordered.
    pub customer: String,
    /// Where it stands: the stored word.
    pub status: String,
    /// Counts its changes.
    pub version: i64,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// In which currency.
    pub currency: String,
    /// The payment it names.
    pub payment: Option<String>,
    /// The reservation it names.
    pub reservation: Option<String>,
    /// The saga that placed it.
    pub place_saga: String,
    /// The saga that cancels it, if one does.
    pub cancel_saga: Option<String>,
    /// Where the latest of the two is, if the journal has it.
    pub saga_status: Option<String>,
    /// When a replica last wrote of that saga: an attempt, or that it took it over.
    pub saga_updated_at: Option<Timestamp>,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// Its last change.
    pub updated_at: Timestamp,
    /// What was ordered.
    pub lines: Vec<AuditLine>,
}

/// A line of an order as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditLine {
    /// Which article.
    pub sku: String,
    /// Units.
    pub quantity: i64,
    /// Per unit, in minor units of the order's currency.
    pub unit_price_minor: i64,
}

const SELECT: &str = "SELECT o.id, o.customer_id, o.status, o.version, o.total_minor, o.currency, o.payment_id, o.reservation_id, \
    o.saga_id, o.cancel_saga_id, s.status AS saga_status, \
    s.updated_at AS saga_updated_at, o.settled_at, o.updated_at, o.lines \
    FROM orders o LEFT JOIN sagas s ON s.id = COALESCE(o.cancel_saga_id, o.saga_id)";

/// A page of orders by id, after `after`; an empty page is the end.
///
/// # Errors
/// When the store fails.
pub async fn orders_after(database: &Database, after: &str, limit: u16) -> Result<Vec<AuditOrder>, SqlError> {
    let work = async {
        let sql = format!("{SELECT} WHERE o.id > $1 ORDER BY o.id LIMIT $2");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after.to_owned()).bind(i64::from(limit));
        read_orders(&query.fetch_all(database.reader()).await?)
    };
    database.bounded(work).await
}

/// Those of these orders that there are. As many as a page has: each is a parameter of one statement.
///
/// # Errors
/// When the store fails.
pub async fn orders_of(database: &Database, ids: &[String]) -> Result<Vec<AuditOrder>, SqlError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let work = async {
        let sql = format!("{SELECT} WHERE o.id IN ({}) ORDER BY o.id", placeholders(ids.len()));
        let query = ids.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.clone()));
        read_orders(&query.fetch_all(database.reader()).await?)
    };
    database.bounded(work).await
}

/// Which of these orders there are. As many as a page has: each is a parameter of one statement.
///
/// # Errors
/// When the store fails.
pub async fn known(database: &Database, ids: &[String]) -> Result<Vec<String>, SqlError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT id FROM orders WHERE id IN ({})", placeholders(ids.len()));
    let query = ids.iter().fold(sqlx::query_scalar(AssertSqlSafe(sql)), |query, id| query.bind(id.clone()));
    database.bounded(async { query.fetch_all(database.reader()).await.map_err(SqlError::from) }).await
}

fn placeholders(count: usize) -> String {
    let placeholders: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
    placeholders.join(", ")
}

fn read_orders(rows: &[AnyRow]) -> Result<Vec<AuditOrder>, SqlError> {
    let order = |row: &AnyRow| {
        let text = |column: &str| row.try_get::<String, _>(column);
        let some = |column: &str| row.try_get::<Option<String>, _>(column);
        Ok(AuditOrder {
            id: text("id")?,
            customer: text("customer_id")?,
            status: text("status")?,
            version: row.try_get("version")?,
            total_minor: row.try_get("total_minor")?,
            currency: text("currency")?,
            payment: some("payment_id")?,
            reservation: some("reservation_id")?,
            place_saga: text("saga_id")?,
            cancel_saga: some("cancel_saga_id")?,
            saga_status: some("saga_status")?,
            saga_updated_at: row.try_get::<Option<i64>, _>("saga_updated_at")?.map(Timestamp::from_micros),
            settled_at: row.try_get::<Option<i64>, _>("settled_at")?.map(Timestamp::from_micros),
            updated_at: Timestamp::from_micros(row.try_get("updated_at")?),
            lines: lines_of(row)?,
        })
    };
    rows.iter().map(order).collect()
}

/// Lines that a hand has spoilt are none: then the total is not their sum.
fn lines_of(row: &AnyRow) -> Result<Vec<AuditLine>, SqlError> {
    let lines = lines::raw(&row.try_get::<String, _>("lines")?).unwrap_or_default();
    let line = |line: lines::StoredLine| AuditLine {
        sku: line.sku,
        quantity: line.quantity,
        unit_price_minor: line.unit_price_minor,
    };
    Ok(lines.into_iter().map(line).collect())
}

/// Events of the outbox that do not say what their order says, for a page of orders after `after`; and where the next page begins,
/// nothing at the end.
///
/// # Errors
/// When the store fails.
pub async fn payloads_after(
    database: &Database,
    after: &str,
    limit: u16,
) -> Result<(Vec<Breach>, Option<String>), SqlError> {
    let slice = async {
        let sql = "SELECT id FROM orders WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2";
        let query = sqlx::query_scalar::<_, String>(sql).bind(after.to_owned()).bind(i64::from(limit.max(1)) - 1);
        Ok::<_, SqlError>(Slice { after: after.to_owned(), upto: query.fetch_optional(database.reader()).await? })
    };
    let slice = database.bounded(slice).await?;
    let upto = if slice.upto.is_some() { " AND id <= $2" } else { "" };
    let sql =
        format!("SELECT {HEAD}, lines, events FROM orders WHERE id > $1{upto} AND events IS NOT NULL ORDER BY id");
    let work = async {
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(slice.after.clone());
        if let Some(upto) = &slice.upto {
            query = query.bind(upto.clone());
        }
        let mut breaches = Vec::new();
        for row in query.fetch_all(database.reader()).await? {
            // Of events that a hand has spoilt the view knows none, which other checks find.
            let events: Vec<Value> = serde_json::from_str(&row.try_get::<String, _>("events")?).unwrap_or_default();
            let lines = lines_of(&row)?;
            for event in &events {
                breaches.extend(payload_breach(&row, &lines, event)?);
            }
        }
        Ok::<_, SqlError>(breaches)
    };
    Ok((database.bounded(work).await?, slice.upto))
}

fn payload_breach(row: &AnyRow, lines: &[AuditLine], stored: &Value) -> Result<Option<Breach>, SqlError> {
    let id: String = row.try_get("id")?;
    let (version, event_at) = (stored["version"].as_i64().unwrap_or(0), stored["at"].as_i64().unwrap_or(0));
    // What is no order, and an event of a version that it never had, other checks find.
    let Ok(order) = read_row(row) else { return Ok(None) };
    let Some(event) = event_of(&order, version, lines) else { return Ok(None) };
    let at = match (version, &order.state) {
        (1, _) => order.head.created_at,
        (2, _) => row.try_get::<Option<i64>, _>("settled_at")?.map_or(order.updated_at, Timestamp::from_micros),
        (_, _) if version == order.version => order.updated_at,
        // Between two changes whose times are known: only the event itself says when.
        _ => Timestamp::from_micros(event_at),
    };
    let subject = Subject {
        id: order.head.id,
        version,
        customer: order.head.customer.as_str().to_owned(),
        total: order.head.total,
        at,
    };
    let (expected, told) = (payload_of(&subject, &event), &stored["payload"]);
    let Some(field) = differing_field(&expected, told) else { return Ok(None) };
    let detail = format!(
        "its event of version {version} says {field} {}, the order {}",
        told.get(&field).unwrap_or(&Value::Null),
        expected.get(&field).unwrap_or(&Value::Null)
    );
    Ok(Some(Breach { code: "outbox_payload_differs", about: "order", subject: id.clone(), order: id, detail }))
}

fn differing_field(expected: &Value, stored: &Value) -> Option<String> {
    let names = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
    let (expected_names, stored_names): (Vec<String>, Vec<String>) = (names(expected), names(stored));
    expected_names.into_iter().chain(stored_names).find(|name| expected.get(name) != stored.get(name))
}

/// What happened to the order when it came to this version.
fn event_of(order: &Order, version: i64, lines: &[AuditLine]) -> Option<Event> {
    let by = match &order.state {
        State::Cancelling { by, .. } | State::Cancelled { by, .. } => Some(*by),
        _ => None,
    };
    match (version, &order.state) {
        (1, _) => {
            let currency = order.head.total.currency();
            let line = |line: &AuditLine| {
                Some(Line {
                    sku: Sku::try_new(line.sku.clone()).ok()?,
                    quantity: Quantity::try_new(line.quantity).ok()?,
                    unit_price: Money::new(line.unit_price_minor, currency),
                })
            };
            let lines = lines.iter().map(line).collect::<Option<Vec<_>>>()?;
            Some(Event::Placed { lines, total: order.head.total })
        }
        (2, State::Failed { failure, refunded, at }) => {
            Some(Event::Failed { failure: failure.clone(), refunded: *refunded, at: *at })
        }
        (
            2,
            State::Confirmed { receipt, at }
            | State::Shipped { receipt, confirmed_at: at }
            | State::Cancelling { receipt, confirmed_at: at, .. }
            | State::Cancelled { receipt, confirmed_at: at, .. },
        ) => Some(Event::Confirmed { receipt: *receipt, at: *at }),
        (3, State::Shipped { .. }) => Some(Event::Shipped),
        (3, _) => by.map(|by| Event::CancellationBegun { by }),
        (4, State::Cancelled { .. }) => by.map(|by| Event::Cancelled { by }),
        _ => None,
    }
}
