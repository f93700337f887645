//! What happened to an order. Private to this service: `store/outbox.rs` converts it, by hand, to what others may read.

use amends_primitives::{Money, PaymentId, SagaId, Timestamp};

use super::{Failure, Line, Receipt};

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Accepted.
    Placed {
        /// What was ordered.
        lines: Vec<Line>,
        /// What it costs.
        total: Money,
    },
    /// Paid for and committed.
    Confirmed {
        /// What the order holds.
        receipt: Receipt,
        /// When.
        at: Timestamp,
    },
    /// Given up and undone.
    Failed {
        /// Why.
        failure: Failure,
        /// The payment that was taken and given back, where it came to that.
        refunded: Option<PaymentId>,
        /// When.
        at: Timestamp,
    },
    /// The cancellation passed its point of no return.
    CancellationBegun {
        /// The run that cancels.
        by: SagaId,
    },
    /// Cancelled, refunded and restocked.
    Cancelled {
        /// The run that cancelled.
        by: SagaId,
    },
    /// Handed to the carrier.
    Shipped,
}

impl Event {
    /// The stable name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "order_placed",
            Self::Confirmed { .. } => "order_confirmed",
            Self::Failed { .. } => "order_failed",
            Self::CancellationBegun { .. } => "order_cancellation_begun",
            Self::Cancelled { .. } => "order_cancelled",
            Self::Shipped => "order_shipped",
        }
    }
}
