//! One delivery: an event on its way to one endpoint. Plain data; what happens to it is decided in `attempt`.
//!
//! Must not know: stores, HTTP.

use amends_primitives::{OrderId, PaymentId, Timestamp};

use super::event::EventKind;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is tried, now or later.
    Pending,
    /// The endpoint has accepted it.
    Delivered,
    /// It was given up. Nothing happens to it until an operator redelivers it.
    Dead,
}

amends_primitives::words!(
    DeliveryState,
    /// The name that is stored and shown.
    name {
        Pending => "pending",
        Delivered => "delivered",
        Dead => "dead",
    }
);

impl std::str::FromStr for DeliveryState {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::from_name(name).ok_or_else(|| "must be pending, delivered or dead".to_owned())
    }
}

/// An event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The `webhook-id`.
    pub event_id: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// What happened.
    pub kind: EventKind,
    /// To which payment, if to one.
    pub payment_id: Option<PaymentId>,
    /// Of which order.
    pub order_id: OrderId,
    /// What is sent, to the byte.
    pub body: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// Since when it is tried: its age. A redelivery begins anew.
    pub began_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// Pending: not to be tried before. While a worker tries it, when that lease ends.
    pub due_at: Timestamp,
    /// Whether a worker tries it, as far as is known.
    pub leased: bool,
    /// Attempts begun, in all. Each has a number of its own, so a late answer to an earlier one is told apart.
    pub attempts: i64,
    /// Attempts begun since `began_at`: what the pauses grow by.
    pub tries: i64,
    /// When the last attempt began.
    pub attempted_at: Option<Timestamp>,
    /// How the last attempt ended, in a few words of our own.
    pub answer: Option<String>,
    /// When it was accepted or given up.
    pub done_at: Option<Timestamp>,
}

impl Delivery {
    /// What names it: the event's id and the endpoint's name.
    pub fn id(&self) -> String {
        delivery_id(&self.event_id, &self.endpoint)
    }
}

/// What names a delivery of that event to that endpoint.
pub fn delivery_id(event_id: &str, endpoint: &str) -> String {
    format!("{event_id}/{endpoint}")
}

/// How an attempt ended, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptOutcome {
    /// What follows.
    pub next: Next,
    /// When it ended.
    pub at: Timestamp,
    /// How, in a few words.
    pub answer: String,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was accepted.
    Delivered,
    /// Another attempt, not before this.
    Retry {
        /// When.
        at: Timestamp,
    },
    /// Nothing: it was given up.
    Dead,
}
