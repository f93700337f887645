//! A reservation, and its lines. The rules are in `decide.rs`.

use amends_primitives::{Money, OrderId, ReservationId, Timestamp};

use super::{Quantity, Rejection, Sku, State};

/// Goods set aside for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its own id.
    pub id: ReservationId,
    /// Whose goods these are.
    pub order: OrderId,
    /// Where it stands.
    pub state: State,
    /// In the order they were asked for.
    pub lines: Vec<PricedLine>,
    /// From this moment on it can no longer be committed.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One article of a reservation, at the price of the moment it was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedLine {
    /// The article.
    pub sku: Sku,
    /// Units.
    pub quantity: Quantity,
    /// Per unit.
    pub unit_price: Money,
}

impl Reservation {
    /// Whether its time has passed.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// The refusal of a command that comes too late.
    pub const fn expired(&self) -> Rejection {
        Rejection::ReservationExpired { reservation: self.id }
    }
}
