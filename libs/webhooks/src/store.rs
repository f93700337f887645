//! Where webhooks wait: the outbox, which lives and changes with what its events tell of, and the deliveries. One trait, any number of
//! implementations.
//!
//! Must not know: when a delivery is tried again, or HTTP.

use amends_primitives::{OrderId, PaymentId, Timestamp};
use async_trait::async_trait;

use crate::{
    delivery::{AttemptOutcome, Delivery, DeliveryState},
    event::Outgoing,
};

/// The longest page of deliveries.
pub const DELIVERIES_PAGE_MAX: u32 = 500;

/// A delivery to make.
#[derive(Debug, Clone, Copy)]
pub struct NewDelivery<'a> {
    /// Of what.
    pub event: &'a Outgoing,
    /// To the endpoint of that name.
    pub endpoint: &'a str,
    /// When it is made, and due.
    pub at: Timestamp,
}

/// What is left to do for an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// When the next pending delivery is due.
    pub next_due: Option<Timestamp>,
    /// Since when the oldest pending delivery is tried.
    pub oldest: Option<Timestamp>,
}

/// Which deliveries to list, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only to this endpoint.
    pub endpoint: Option<String>,
    /// Only about this order's payments.
    pub order_id: Option<OrderId>,
    /// Only about this payment.
    pub payment_id: Option<PaymentId>,
    /// Only after this one: a [`Delivery::id`].
    pub after: Option<String>,
    /// At the most this many; 1 to [`DELIVERIES_PAGE_MAX`].
    pub limit: u32,
}

/// Which deliveries to try anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeliver {
    /// Of one event: to all endpoints that it was for, or to one.
    Event {
        /// The `webhook-id`.
        id: String,
        /// The endpoint's name.
        endpoint: Option<String>,
    },
    /// All dead ones of an endpoint that died before a time, so that one which dies again is not tried for ever.
    Dead {
        /// The endpoint's name.
        endpoint: String,
        /// When they had died.
        before: Timestamp,
    },
}

/// Keeps webhooks. Every call is bounded in time. Events get in by the service's own writes, in the same write as what they tell of.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// Why a call failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What waits in the outbox: `limit` events at the most, in the order in which they happened.
    async fn outbox(&self, limit: u32) -> Result<Vec<Outgoing>, Self::Error>;

    /// Makes deliveries. One that is there already is left as it is.
    async fn enqueue(&self, deliveries: &[NewDelivery<'_>]) -> Result<(), Self::Error>;

    /// Takes events out of the outbox. Those that are gone are no error.
    async fn clear(&self, events: &[Outgoing]) -> Result<(), Self::Error>;

    /// The delivery that has been due for longest at that endpoint, leased until `until`. Of any number of concurrent claims, one
    /// gets it.
    async fn claim_due(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Delivery>, Self::Error>;

    /// Writes down how the attempt ended that `claimed` was for. `false` where that does not matter any more: it was delivered by
    /// another, redelivered, or, unless it was accepted, claimed again.
    async fn settle(&self, claimed: &Delivery, settlement: &AttemptOutcome) -> Result<bool, Self::Error>;

    /// What is left to do for that endpoint.
    async fn backlog(&self, endpoint: &str) -> Result<Backlog, Self::Error>;

    /// Lists deliveries, by the newest event first; and whether there are more.
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<(Vec<Delivery>, bool), Self::Error>;

    /// Makes deliveries due at `now`, with all their attempts again; `limit` at the most. Returns how many. One that is being
    /// attempted is left to that attempt.
    async fn redeliver(&self, which: &Redeliver, now: Timestamp, limit: u32) -> Result<u64, Self::Error>;

    /// Moves what waits at an endpoint to the clock as it is now, `limit` deliveries at the most; returns how many. A delivery that was
    /// begun or attempted later than `now` was so by a clock that has been set back since: it waits from now for as long as it was
    /// meant to wait then, and not for the step as well.
    async fn rebase(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<u64, Self::Error>;

    /// Deletes what was delivered or given up before that; `limit` at the most. How many.
    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, Self::Error>;
}
