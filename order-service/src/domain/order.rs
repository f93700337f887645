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

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, PaymentId, ReservationId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Failure, FailureCode, Receipt};

    const CONFIRMED: Timestamp = Timestamp::from_millis(2_000);
    const NOW: Timestamp = Timestamp::from_millis(3_000);

    fn saga(number: u128) -> SagaId {
        SagaId::new(Uuid::from_u128(number))
    }

    fn order(state: State) -> Order {
        let head = OrderHead {
            id: OrderId::new(Uuid::from_u128(1)),
            customer: CustomerId::try_new("ann").unwrap(),
            lines: Vec::new(),
            total: Money::new(700, Currency::EUR),
            payment_method: PaymentMethod::try_new("pm_ok").unwrap(),
            saga: saga(1),
            trace_id: String::new(),
            created_at: Timestamp::from_millis(1_000),
        };
        Order { head, state, version: 4, updated_at: NOW }
    }

    /// The states of an order, each with its status and the saga that is or was at work last.
    fn states() -> [(State, Status, u128); 6] {
        let receipt = Receipt {
            payment: PaymentId::new(Uuid::from_u128(5)),
            reservation: ReservationId::new(Uuid::from_u128(6)),
        };
        let (confirmed_at, by) = (CONFIRMED, saga(2));
        let failure = Failure { code: FailureCode::Internal, message: "no".into() };
        [
            (State::Pending, Status::Pending, 1),
            (State::Failed { failure, refunded: None, at: CONFIRMED }, Status::Failed, 1),
            (State::Confirmed { receipt, at: CONFIRMED }, Status::Confirmed, 1),
            (State::Cancelling { receipt, confirmed_at, by }, Status::Cancelling, 2),
            (State::Cancelled { receipt, confirmed_at, by }, Status::Cancelled, 2),
            (State::Shipped { receipt, confirmed_at }, Status::Shipped, 1),
        ]
    }

    #[test]
    fn an_order_tells_its_status_and_its_latest_saga() {
        for (state, status, latest) in states() {
            let order = order(state);
            assert_eq!((order.status(), order.latest_saga()), (status, saga(latest)));
            assert_eq!((order.state.name(), status.to_string().parse()), (status.as_str(), Ok(status)));
            assert_eq!(status.is_in_motion(), matches!(status.as_str(), "pending" | "cancelling"));
        }
        assert_eq!((State::New.status(), State::New.name(), "new".parse::<Status>()), (None, "new", Err(())));
    }

    #[test]
    fn a_repeat_is_answered_as_it_was_when_it_settled() {
        let [pending, failed, confirmed, later @ ..] = states().map(|(state, ..)| state);
        assert_eq!(order(pending).as_settled(), None);
        let settled = |state: State| Order { version: 2, updated_at: CONFIRMED, ..order(state) };
        assert_eq!(order(failed.clone()).as_settled(), Some(settled(failed)));
        assert_eq!(order(confirmed.clone()).as_settled(), Some(settled(confirmed.clone())));
        for state in later {
            assert_eq!(order(state).as_settled(), Some(settled(confirmed.clone())), "as the customer was told");
        }
    }
}
