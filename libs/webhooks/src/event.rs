//! An event as it waits in the outbox of the service that it is about.
//!
//! Must not know: which events there are, what their bodies say, endpoints, HTTP.

use std::borrow::Cow;

use amends_primitives::{OrderId, PaymentId, Timestamp};
use serde::{Deserialize, Serialize};

/// What kind of event: the name that is sent, stored and configured, as `payment.captured`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKind(Cow<'static, str>);

impl EventKind {
    /// By its name.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

amends_primitives::display_as!(EventKind => name);

/// An event, as it waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The `webhook-id`: the same for every endpoint and every attempt. Without a full stop, which separates what is signed.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// To which payment, if to one.
    pub payment_id: Option<PaymentId>,
    /// Of which order.
    pub order_id: OrderId,
    /// What is sent, to the byte.
    pub body: String,
}
