//! The states of an order. Each owns only the data that exists in it.

use std::str::FromStr;

use amends_primitives::{PaymentId, ReservationId, SagaId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Failure;

/// What a confirmed order holds elsewhere: the money taken and the goods sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The captured payment.
    pub payment: PaymentId,
    /// The committed reservation.
    pub reservation: ReservationId,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No cancellation was requested yet.
    New,
    /// Accepted; it is being reserved, paid for and committed.
    Pending,
    /// Paid for, and the goods are the customer's.
    Confirmed {
        /// What it holds.
        receipt: Receipt,
        /// Since when.
        at: Timestamp,
    },
    /// Could not be done. Nothing is held and nothing was kept.
    Failed {
        /// Why.
        failure: Failure,
        /// The payment that was taken and given back, where it came to that.
        refunded: Option<PaymentId>,
        /// Since when.
        at: Timestamp,
    },
    /// Its refund and restock are under way; there is no way back.
    Cancelling {
        /// What it held when it was confirmed.
        receipt: Receipt,
        /// When it was confirmed.
        confirmed_at: Timestamp,
        /// The run that cancels it.
        by: SagaId,
    },
    /// The money went back, the goods are on sale again.
    Cancelled {
        /// What it held when it was confirmed.
        receipt: Receipt,
        /// When it was confirmed.
        confirmed_at: Timestamp,
        /// The run that cancelled it.
        by: SagaId,
    },
    /// Handed to the carrier: too late to cancel.
    Shipped {
        /// What it holds.
        receipt: Receipt,
        /// When it was confirmed.
        confirmed_at: Timestamp,
    },
}

/// The name of a state, as stores and interfaces write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// [`State::Pending`].
    Pending,
    /// [`State::Confirmed`].
    Confirmed,
    /// [`State::Failed`].
    Failed,
    /// [`State::Cancelling`].
    Cancelling,
    /// [`State::Cancelled`].
    Cancelled,
    /// [`State::Shipped`].
    Shipped,
}

amends_primitives::words!(
    Status,
    /// In lower case.
    as_str {
        Pending => "pending",
        Confirmed => "confirmed",
        Failed => "failed",
        Cancelling => "cancelling",
        Cancelled => "cancelled",
        Shipped => "shipped",
    }
);

impl Status {
    /// Whether a saga is at work on the order.
    pub const fn is_in_motion(self) -> bool {
        matches!(self, Self::Pending | Self::Cancelling)
    }
}

amends_primitives::display_as!(Status => as_str);

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_name(text).ok_or(())
    }
}

impl State {
    /// The name of the state; `None` before there is an order.
    pub const fn status(&self) -> Option<Status> {
        Some(match self {
            Self::New => return None,
            Self::Pending => Status::Pending,
            Self::Confirmed { .. } => Status::Confirmed,
            Self::Failed { .. } => Status::Failed,
            Self::Cancelling { .. } => Status::Cancelling,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::Shipped { .. } => Status::Shipped,
        })
    }

    /// For messages: the status, or `new`.
    pub const fn name(&self) -> &'static str {
        match self.status() {
            Some(status) => status.as_str(),
            None => "new",
        }
    }
}
