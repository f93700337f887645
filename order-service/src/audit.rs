//! What `amends audit` sees of this service: its rows as they are stored, what must be true of them, and its sagas as data. Reads only.

use std::sync::Arc;

use amends_sql::Database;
use saga_engine::{
    Saga as _,
    shape::{Outline, Role, Shape},
};

use crate::{
    metrics::Meters,
    saga::{CancelOrder, PlaceOrder},
    store::{ApplyToOrders, Journal},
};

pub use crate::store::{
    audit::{AuditLine, AuditOrder, known, orders_after, orders_of, payloads_after},
    checks,
};

/// The sagas' journal for tools: to read, and to leave requests in. Nothing is run by it. Needs a tokio runtime.
pub fn journal(database: &Database) -> Arc<Journal> {
    // The meters count changes of orders, and this journal makes none.
    let apply = ApplyToOrders::new(database.dialect(), Meters::new(&service_base::metrics::Metrics::new()));
    Arc::new(Journal::new(database.clone(), apply))
}

/// Every saga definition of this service, to fold stored events by.
pub fn shapes() -> [Shape; 2] {
    let place = [
        Outline::new("reserve_stock", Role::Compensable),
        Outline::new("charge_payment", Role::Compensable),
        Outline::new("commit_stock", Role::Pivot),
        Outline::local("confirm_order", Role::Retriable),
    ];
    let cancel = [
        Outline::local("mark_cancelling", Role::Pivot),
        Outline::new("refund_payment", Role::Retriable),
        Outline::new("restock", Role::Retriable),
        Outline::local("mark_cancelled", Role::Retriable),
    ];
    [
        Shape::outlined(PlaceOrder::NAME, PlaceOrder::VERSION, &place),
        Shape::outlined(CancelOrder::NAME, CancelOrder::VERSION, &cancel),
    ]
}
