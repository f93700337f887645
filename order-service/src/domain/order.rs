//! One order: what never changes about it, and where it stands.

use amends_primitives::{Money, OrderId, SagaId, Timestamp};

use super::{CustomerId, Line, PaymentMethod, State, Status};

/// What never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderHead {
    /// Its id; version 7, so ids sort by creation.
    pub id: OrderId,
    /// Who ordered.
    pub customer: CustomerId,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// What it costs.
    pub total: Money,
    /// How it is paid.
    pub payment_method: PaymentMethod,
    /// The saga that places it.
    pub saga: SagaId,
    /// The trace it was placed in; empty when there was none.
    pub trace_id: String,
    /// When.
    pub created_at: Timestamp,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What never changes.
    pub head: OrderHead,
    /// Where it stands.
    pub state: State,
    /// Counts its changes, from 1.
    pub version: i64,
    /// The last change.
    pub updated_at: Timestamp,
}

impl Order {
    /// The name of its state. An order that was read or placed is never `New`.
    pub const fn status(&self) -> Status {
        match self.state.status() {
            Some(status) => status,
            None => Status::Pending,
        }
    }

    /// The saga at work on it, or the last that was.
    pub const fn latest_saga(&self) -> SagaId {
        match &self.state {
            State::Cancelling { by, .. } | State::Cancelled { by, .. } => *by,
            State::New | State::Pending | State::Confirmed { .. } | State::Failed { .. } | State::Shipped { .. } => {
                self.head.saga
            }
        }
    }

    /// The order as it was when placing it settled: what an idempotent repeat is answered with, whatever became of it since.
    /// `None` while placing it is still under way.
    #[must_use]
    pub fn as_settled(&self) -> Option<Self> {
        let (state, at) = match &self.state {
            State::New | State::Pending => return None,
            State::Confirmed { at, .. } | State::Failed { at, .. } => (self.state.clone(), *at),
            State::Cancelling { receipt, confirmed_at, .. }
            | State::Cancelled { receipt, confirmed_at, .. }
            | State::Shipped { receipt, confirmed_at } => {
                (State::Confirmed { receipt: *receipt, at: *confirmed_at }, *confirmed_at)
            }
        };
        Some(Self { head: self.head.clone(), state, version: 2, updated_at: at })
    }
}
