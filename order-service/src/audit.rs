//! Orders as `amends audit` reads them: all of them, by id, with where their sagas are. Reads only.

use std::sync::Arc;

use amends_primitives::{Money, OrderId, PaymentId, ReservationId, SagaId, Timestamp};
use amends_sql::{Database, SqlError};

use crate::{
    domain::{State, Status},
    metrics::Meters,
    saga::{ApplyToOrders, Journal, Sagas},
    store,
};

/// One order for reconciliation.
#[derive(Debug, Clone)]
pub struct AuditView {
    /// Its id.
    pub id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// Who ordered.
    pub customer_id: String,
    /// What it costs.
    pub total: Money,
    /// The payment it has, or had and gave back.
    pub payment_id: Option<PaymentId>,
    /// The reservation it has, or had.
    pub reservation_id: Option<ReservationId>,
    /// Why it failed: the stable code.
    pub failure_code: Option<String>,
    /// The saga that placed it.
    pub place_saga: SagaId,
    /// The saga at work on it, or the last that was.
    pub latest_saga: SagaId,
    /// Where that is; none when the journal has no such saga, which is a discrepancy unless it was purged.
    pub latest_saga_status: Option<saga_engine::Status>,
    /// The key it was placed under. Only orders that gave their key back (`failed`, see `failure_code`) may share one.
    pub idempotency_key: String,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Its last change.
    pub updated_at: Timestamp,
}

impl AuditView {
    /// Whether the order gave its idempotency key back, so that another order may have been placed under it.
    pub fn gave_key_back(&self) -> bool {
        self.failure_code.as_deref().is_some_and(crate::saga::place_order::gives_key_back)
    }
}

/// The sagas' journal for tools: to read, and to leave requests in. Nothing is run by it. Needs a tokio runtime.
pub fn journal(database: &Database) -> Arc<Journal> {
    // The meters count changes of orders, and this journal makes none.
    let apply = ApplyToOrders::new(database.dialect(), Meters::new(&service_kit::metrics::Metrics::new()));
    Arc::new(Journal::new(database.clone(), apply))
}

/// Reads a page of orders by id. Begin with `after: None`; go on after the last of a page; an empty page is the end.
///
/// # Errors
/// When the database cannot be asked.
pub async fn audit_page(database: &Database, after: Option<OrderId>, limit: u16) -> Result<Vec<AuditView>, SqlError> {
    let rows = store::audit(database, after, limit).await?;
    let sagas: Vec<SagaId> = rows.iter().map(|row| row.order.latest_saga()).collect();
    let statuses = Sagas::statuses_in(&journal(database), &sagas).await?;
    let status_of = |saga: SagaId| statuses.iter().find(|(id, _)| *id == saga).map(|(_, status)| *status);
    Ok(rows
        .into_iter()
        .map(|row| {
            let (payment_id, reservation_id, failure_code) = match &row.order.state {
                State::New | State::Pending => (None, None, None),
                State::Failed { failure, refunded, .. } => (*refunded, None, Some(failure.code.clone())),
                State::Confirmed { receipt, .. }
                | State::Shipped { receipt, .. }
                | State::Cancelling { receipt, .. }
                | State::Cancelled { receipt, .. } => (Some(receipt.payment), Some(receipt.reservation), None),
            };
            AuditView {
                id: row.order.head.id,
                status: row.order.status(),
                customer_id: row.order.head.customer.as_str().to_owned(),
                total: row.order.head.total,
                payment_id,
                reservation_id,
                failure_code,
                place_saga: row.order.head.saga,
                latest_saga: row.order.latest_saga(),
                latest_saga_status: status_of(row.order.latest_saga()),
                idempotency_key: row.idempotency_key,
                created_at: row.order.head.created_at,
                updated_at: row.order.updated_at,
            }
        })
        .collect())
}

/// Which of these orders there are. As many as a page has: each is a parameter of one statement.
///
/// # Errors
/// When the database cannot be asked.
pub async fn known_orders(database: &Database, ids: &[OrderId]) -> Result<Vec<OrderId>, SqlError> {
    if ids.is_empty() { Ok(Vec::new()) } else { store::known(database, ids).await }
}
