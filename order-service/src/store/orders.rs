//! Orders: reading, listing, placing, changing.

use std::{fmt::Write as _, sync::Arc};

use amends_primitives::{Money, OrderId, Timestamp};
use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use super::{Journal, Subject, idempotency, lines, outbox, sweep};
use crate::{
    domain::{
        Applied, Command, CustomerId, Event, Failure, Order, OrderHead, Receipt, Rejection, State, Status, decide,
        evolve,
    },
    ports::{
        BeginError, Changed, Claim, IdempotencyKey, ListOrders, OrderStore, Page, Placed, SagaStart, StartOrder,
        Started, Swept,
    },
};

/// The store on SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlOrders {
    database: Database,
    journal: Arc<Journal>,
}

impl SqlOrders {
    /// On a database whose schema is up to date, and which the journal shares: what begins an order goes through the journal's
    /// transactions, so that many orders placed at once cost one commit.
    pub const fn new(database: Database, journal: Arc<Journal>) -> Self {
        Self { database, journal }
    }
}

#[async_trait]
impl OrderStore for SqlOrders {
    async fn claim(&self, customer: &CustomerId, key: &IdempotencyKey) -> Result<Option<Claim>, SqlError> {
        self.database.bounded(idempotency::find(self.database.reader(), customer, key)).await
    }

    async fn start(&self, start: StartOrder, saga: Arc<dyn SagaStart>) -> Result<Started, BeginError> {
        // Whose row is inserted first, and waited for by a twin.
        let lock = format!("{}\n{}", start.order.head.customer.as_str(), start.key.as_str());
        let work = self.journal.transact(lock, move |tx| {
            Box::pin(async move {
                if !insert_in_tx(tx, &start).await? {
                    let claim = idempotency::find_in_tx(tx, &start.order.head.customer, &start.key).await?;
                    return Ok((Started::Again(claim), saga));
                }
                saga.start_in_tx(tx).await?;
                // Kept until the commit has ended, however late: dropped unlaunched, it has the engine look whether it is there.
                Ok((Started::First, saga))
            })
        });
        self.database.bounded(work).await.map(|(started, _saga)| started)
    }

    async fn begin(&self, saga: Arc<dyn SagaStart>) -> Result<(), BeginError> {
        let work = self.journal.transact(String::new(), move |tx| {
            Box::pin(async move {
                saga.start_in_tx(tx).await?;
                // As with an order's.
                Ok(saga)
            })
        });
        self.database.bounded(work).await.map(drop)
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, SqlError> {
        self.database
            .bounded(async {
                let sql = format!("SELECT {HEAD}, lines FROM orders WHERE id = $1");
                let query = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string());
                query.fetch_optional(self.database.reader()).await?.map(|row| read_order(&row)).transpose()
            })
            .await
    }

    async fn list(&self, ask: &ListOrders) -> Result<Page, SqlError> {
        self.database
            .bounded(async {
                let mut bound: Vec<String> = Vec::new();
                let mut filters = String::new();
                let wanted = [
                    ("customer_id =", ask.customer.as_ref().map(|customer| customer.as_str().to_owned())),
                    ("status =", ask.status.map(|status| status.as_str().to_owned())),
                    ("id <", ask.before.map(|id| id.to_string())),
                ];
                for (filter, value) in wanted {
                    if let Some(value) = value {
                        bound.push(value);
                        let joint = if bound.len() == 1 { "WHERE" } else { "AND" };
                        // Writing to a string cannot fail.
                        let _ = write!(filters, " {joint} {filter} ${}", bound.len());
                    }
                }
                // One more than asked for tells whether there is a next page.
                let sql =
                    format!("SELECT {HEAD}, lines FROM orders{filters} ORDER BY id DESC LIMIT ${}", bound.len() + 1);
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for value in bound {
                    query = query.bind(value);
                }
                let rows = query.bind(i64::from(ask.limit) + 1).fetch_all(self.database.reader()).await?;
                let mut orders = rows.iter().map(read_order).collect::<Result<Vec<_>, _>>()?;
                let more = orders.len() > usize::from(ask.limit);
                orders.truncate(usize::from(ask.limit));
                Ok(Page { next: if more { orders.last().map(|order| order.head.id) } else { None }, orders })
            })
            .await
    }

    async fn sweep(&self, now: Timestamp, events_before: Timestamp) -> Result<Swept, SqlError> {
        self.database.bounded(sweep::sweep(&self.database, now, events_before)).await
    }
}

/// Changes an order by a command, in the caller's transaction. With `give_key_back`, the idempotency key it was placed under may be
/// used anew once that transaction commits.
///
/// # Errors
/// When the store fails; a command that breaks a rule is the inner error.
pub async fn change_in_tx(
    dialect: Dialect,
    tx: &mut Tx,
    id: OrderId,
    command: &Command,
    now: Timestamp,
    give_key_back: bool,
) -> Result<Result<Applied<Changed>, Rejection>, SqlError> {
    let sql = format!("SELECT {HEAD} FROM orders WHERE id = $1{}", dialect.for_update());
    let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(&mut **tx).await?;
    // A saga without its order cannot be: they begin in one transaction.
    let row = row.ok_or(SqlError::Corrupt { what: "order of a saga" })?;
    let before = read_row(&row)?;
    let event = match decide(&before.state, command, now) {
        Ok(Applied::Now(event)) => event,
        Ok(Applied::Already) => return Ok(Ok(Applied::Already)),
        Err(rejection) => return Ok(Err(rejection)),
    };
    let state = evolve(before.state, &event).map_err(|_| SqlError::Corrupt { what: "orders.status" })?;
    let after = Order { head: before.head, state, version: before.version + 1, updated_at: now };
    let Order { head, state, version, .. } = &after;
    let subject =
        Subject { id, version: *version, customer: head.customer.as_str().to_owned(), total: head.total, at: now };
    let changed = update_in_tx(tx, &subject, state, &event, give_key_back).await?;
    // The row was read for update in this transaction, so no other transaction can have changed it.
    changed.map(|changed| Ok(Applied::Now(changed))).ok_or(SqlError::Contended(sqlx::Error::RowNotFound))
}

/// As [`change_in_tx`], for the end of placing an order: it needs no look at the order first, as the saga knows what it has placed. None: the
/// order is not as it was placed, or may not be changed so; nothing was written.
///
/// # Errors
/// When the store fails.
pub async fn settle_in_tx(
    tx: &mut Tx,
    id: OrderId,
    placed: &Placed,
    command: &Command,
    now: Timestamp,
    give_key_back: bool,
) -> Result<Option<Changed>, SqlError> {
    let Ok(Applied::Now(event)) = decide(&State::Pending, command, now) else { return Ok(None) };
    let Ok(state) = evolve(State::Pending, &event) else { return Ok(None) };
    let customer = placed.customer.as_str().to_owned();
    let subject = Subject { id, version: 2, customer, total: placed.total, at: now };
    update_in_tx(tx, &subject, &state, &event, give_key_back).await
}

/// An order without its lines.
pub(super) const HEAD: &str = "id, customer_id, status, version, currency, total_minor, payment_method, payment_id, reservation_id, \
    failure_code, failure_message, saga_id, cancel_saga_id, trace_id, created_at, updated_at, settled_at";

/// The state as columns.
struct Columns {
    payment: Option<String>,
    reservation: Option<String>,
    failure: Option<Failure>,
    cancelled_by: Option<String>,
    settled_at: Option<i64>,
}

impl Columns {
    fn of(state: &State) -> Self {
        let nothing = Self { payment: None, reservation: None, failure: None, cancelled_by: None, settled_at: None };
        let held = |receipt: &Receipt, at: &Timestamp| Self {
            payment: Some(receipt.payment.to_string()),
            reservation: Some(receipt.reservation.to_string()),
            failure: None,
            cancelled_by: None,
            settled_at: Some(at.as_micros()),
        };
        match state {
            State::New | State::Pending => nothing,
            State::Confirmed { receipt, at } => held(receipt, at),
            State::Shipped { receipt, confirmed_at } => held(receipt, confirmed_at),
            State::Failed { failure, refunded, at } => Self {
                payment: refunded.map(|payment| payment.to_string()),
                failure: Some(failure.clone()),
                settled_at: Some(at.as_micros()),
                ..nothing
            },
            State::Cancelling { receipt, confirmed_at, by } | State::Cancelled { receipt, confirmed_at, by } => {
                Self { cancelled_by: Some(by.to_string()), ..held(receipt, confirmed_at) }
            }
        }
    }
}

/// Whether the order's key was free. A twin whose transaction is still open is waited for: PostgreSQL's unique index does that, and SQLite
/// has one writer.
async fn insert_in_tx(tx: &mut Tx, start: &StartOrder) -> Result<bool, SqlError> {
    let StartOrder { order, placed, key, fingerprint, key_expires_at } = start;
    let head = &order.head;
    let subject = Subject {
        id: head.id,
        version: order.version,
        customer: head.customer.as_str().to_owned(),
        total: head.total,
        at: order.updated_at,
    };
    let inserted = sqlx::query(
        "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, saga_id, idempotency_key,
                             trace_id, created_at, updated_at, lines, key_fingerprint, key_expires_at, events)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (customer_id, idempotency_key) WHERE key_fingerprint IS NOT NULL DO NOTHING",
    )
    .bind(head.id.to_string())
    .bind(head.customer.as_str())
    .bind(order.status().as_str())
    .bind(order.version)
    .bind(head.total.currency().code())
    .bind(head.total.amount_minor())
    .bind(head.payment_method.as_str())
    .bind(head.saga.to_string())
    .bind(key.as_str())
    .bind(head.trace_id.as_str())
    .bind(head.created_at.as_micros())
    .bind(order.updated_at.as_micros())
    .bind(lines::write(&head.lines)?)
    .bind(fingerprint.as_str())
    .bind(key_expires_at.as_micros())
    .bind(format!("[{}]", outbox::stored(&subject, placed)))
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Writes an order's next state and what happened; nothing if it is at another version, or another's.
async fn update_in_tx(
    tx: &mut Tx,
    subject: &Subject,
    state: &State,
    event: &Event,
    give_key_back: bool,
) -> Result<Option<Changed>, SqlError> {
    let columns = Columns::of(state);
    // Only where it is given back, or an index that does not change would be written.
    let key = if give_key_back { ", key_fingerprint = NULL, key_expires_at = NULL" } else { "" };
    let sql = format!(
        "UPDATE orders SET status = $1, version = $2, payment_id = $3, reservation_id = $4, failure_code = $5,
                failure_message = $6, cancel_saga_id = $7, updated_at = $8, settled_at = $9,
                events = COALESCE(substr(events, 1, length(events) - 1) || ',', '[') || $10 || ']'{key}
         WHERE id = $11 AND version = $12 AND customer_id = $13 AND total_minor = $14 AND currency = $15
         RETURNING created_at, trace_id"
    );
    let status = state.status().unwrap_or(Status::Pending);
    let changed: Option<(i64, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(status.as_str())
        .bind(subject.version)
        .bind(columns.payment)
        .bind(columns.reservation)
        .bind(columns.failure.as_ref().map(|failure| failure.code.to_string()))
        .bind(columns.failure.map(|failure| failure.message))
        .bind(columns.cancelled_by)
        .bind(subject.at.as_micros())
        .bind(columns.settled_at)
        .bind(outbox::stored(subject, event))
        .bind(subject.id.to_string())
        .bind(subject.version - 1)
        .bind(subject.customer.clone())
        .bind(subject.total.amount_minor())
        .bind(subject.total.currency().code())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(changed.map(|(created_at, trace_id)| Changed {
        status,
        total: subject.total,
        created_at: Timestamp::from_micros(created_at),
        trace_id,
    }))
}

/// An order with its lines.
fn read_order(row: &AnyRow) -> Result<Order, SqlError> {
    let mut order = read_row(row)?;
    order.head.lines = lines::read(&row.try_get::<String, _>("lines")?, order.head.total.currency())?;
    Ok(order)
}

/// An order without its lines.
pub(super) fn read_row(row: &AnyRow) -> Result<Order, SqlError> {
    fn id<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, SqlError> {
        let text: Option<String> = row.try_get(column)?;
        text.map(|text| text.parse().map_err(|_| SqlError::Corrupt { what: column })).transpose()
    }
    fn needed<T>(value: Option<T>, what: &'static str) -> Result<T, SqlError> {
        value.ok_or(SqlError::Corrupt { what })
    }
    let status: String = row.try_get("status")?;
    let status: Status = status.parse().map_err(|()| SqlError::Corrupt { what: "orders.status" })?;
    let settled_at = row.try_get::<Option<i64>, _>("settled_at")?.map(Timestamp::from_micros);
    let receipt = || -> Result<Receipt, SqlError> {
        Ok(Receipt {
            payment: needed(id(row, "payment_id")?, "orders.payment_id")?,
            reservation: needed(id(row, "reservation_id")?, "orders.reservation_id")?,
        })
    };
    let at = || needed(settled_at, "orders.settled_at");
    let by = || needed(id(row, "cancel_saga_id")?, "orders.cancel_saga_id");
    let state = match status {
        Status::Pending => State::Pending,
        Status::Confirmed => State::Confirmed { receipt: receipt()?, at: at()? },
        Status::Shipped => State::Shipped { receipt: receipt()?, confirmed_at: at()? },
        Status::Cancelling => State::Cancelling { receipt: receipt()?, confirmed_at: at()?, by: by()? },
        Status::Cancelled => State::Cancelled { receipt: receipt()?, confirmed_at: at()?, by: by()? },
        Status::Failed => State::Failed {
            failure: Failure {
                code: needed(row.try_get::<Option<String>, _>("failure_code")?, "orders.failure_code")?.into(),
                message: needed(row.try_get("failure_message")?, "orders.failure_message")?,
            },
            refunded: id(row, "payment_id")?,
            at: at()?,
        },
    };
    let currency: String = row.try_get("currency")?;
    let currency = currency.parse().map_err(|_| SqlError::Corrupt { what: "orders.currency" })?;
    Ok(Order {
        head: OrderHead {
            id: needed(id(row, "id")?, "orders.id")?,
            customer: CustomerId::try_new(row.try_get::<String, _>("customer_id")?)
                .map_err(|_| SqlError::Corrupt { what: "orders.customer_id" })?,
            lines: Vec::new(),
            total: Money::new(row.try_get("total_minor")?, currency),
            payment_method: crate::domain::PaymentMethod::try_new(row.try_get::<String, _>("payment_method")?)
                .map_err(|_| SqlError::Corrupt { what: "orders.payment_method" })?,
            saga: needed(id(row, "saga_id")?, "orders.saga_id")?,
            trace_id: row.try_get("trace_id")?,
            created_at: Timestamp::from_micros(row.try_get("created_at")?),
        },
        state,
        version: row.try_get("version")?,
        updated_at: Timestamp::from_micros(row.try_get("updated_at")?),
    })
}
