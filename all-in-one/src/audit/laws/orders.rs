//! Where an order stands, and how one is reported whose saga no replica goes on with.

use std::time::Duration;

use amends_primitives::Timestamp;
use order_service::store::audit::AuditOrder;

use super::{Found, Law};

/// An order that has not changed for so long has no replica that runs its saga, or waits for a participant that has been away for as long:
/// what the environment does to a saga never parks it. Both are for an operator to see.
const STUCK_AFTER: Duration = Duration::from_mins(30);

/// An order's status, as far as the laws care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A saga is at work: most of the books of this order may be in any state on the way.
    InFlight,
    /// Confirmed (or shipped): paid for, and the goods sold.
    Confirmed,
    /// Failed or cancelled: nothing kept, nothing held.
    Undone,
}

impl Standing {
    /// By the stored word; none where it is no status, which a check of the order store reports.
    pub fn of(order: &AuditOrder) -> Option<Self> {
        match order.status.as_str() {
            "pending" | "cancelling" => Some(Self::InFlight),
            "confirmed" | "shipped" => Some(Self::Confirmed),
            "failed" | "cancelled" => Some(Self::Undone),
            _ => None,
        }
    }
}

/// Whether its saga waits for a person, or for a replica.
pub fn check(order: &AuditOrder, standing: Standing, now: Timestamp) -> Option<Found> {
    if order.saga_status.as_deref() == Some("parked") {
        let saga = order.cancel_saga.as_ref().unwrap_or(&order.place_saga);
        return Some(Found::new(Law::SagaParked, format!("its saga {saga} is parked")));
    }
    let idle = now.since(order.updated_at);
    let stuck = standing == Standing::InFlight && idle > STUCK_AFTER;
    stuck.then(|| {
        let detail = format!("in flight for {} minutes without a change", idle.as_secs() / 60);
        Found::new(Law::SagaStuck, detail)
    })
}
