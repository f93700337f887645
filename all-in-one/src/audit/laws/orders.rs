//! Where an order stands, and how one is reported whose saga no replica goes on with.

use std::time::Duration;

use amends_primitives::Timestamp;
use order_service::audit::AuditOrder;

use super::{Found, Law};

/// An order in flight without an attempt for so long has no replica that runs its saga. A saga that waits for a participant is not idle:
/// its replica writes each attempt, and waits 30 s between two at the most.
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
    let last = order.saga_updated_at.map_or(order.updated_at, |saga| saga.max(order.updated_at));
    let idle = now.since(last);
    let stuck = standing == Standing::InFlight && idle > STUCK_AFTER;
    stuck.then(|| {
        let detail = format!("in flight, and not attempted for {} minutes", idle.as_secs() / 60);
        Found::new(Law::SagaStuck, detail)
    })
}
