//! place-order: reserve_stock ↔ release · charge_payment ↔ refund · commit_stock (pivot) · confirm_order.
//!
//! The order of steps: stock first, because a refusal there costs nothing and is the common one; money second, because giving it
//! back is visible to the customer; the pivot makes both final at once. `confirm_order` is a change of our own tables and commits
//! with the saga's end, so a happy order costs two commits.

mod charge_payment;
mod commit_stock;
mod confirm_order;
mod reserve_stock;

use std::{sync::Arc, time::Duration};

use amends_primitives::{Money, OrderId, PaymentId, ReservationId};
use saga_engine::{Definition, DefinitionError, Failure, FailureKind, Policy, Saga, Told};
use serde::{Deserialize, Serialize};
use service_base::code::Code;

use super::{OrderChange, Participants, story};
use crate::{
    domain::{self, CustomerId, FailureCode, Line, PaymentMethod},
    ports::{Charge, Placed, Reserve},
};

use charge_payment::ChargePayment;
use commit_stock::CommitStock;
use confirm_order::ConfirmOrder;
use reserve_stock::ReserveStock;

/// Placing one order.
pub struct PlaceOrder;

/// What placing one order knows. Begins with what was ordered; steps add what they obtained. Stored: keep old shapes readable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The order.
    pub order: OrderId,
    /// Who pays.
    pub customer: CustomerId,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// What it costs.
    pub total: Money,
    /// How it is paid.
    pub payment_method: PaymentMethod,
    /// The correlation id of the request, so that a resumed saga still carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// From `reserve_stock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<ReservationId>,
    /// From `charge_payment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
}

impl State {
    pub(super) fn correlation(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    fn placed(&self) -> Placed {
        Placed { customer: self.customer.clone(), total: self.total }
    }

    /// What to reserve; the same in every attempt.
    pub(super) fn reserve(&self) -> Reserve<'_> {
        Reserve { order: self.order, lines: &self.lines }
    }

    /// What to charge; the same in every attempt.
    pub(super) fn charge(&self) -> Charge<'_> {
        Charge { order: self.order, customer: &self.customer, amount: self.total, method: &self.payment_method }
    }
}

impl Saga for PlaceOrder {
    const NAME: &'static str = "place-order";
    const VERSION: u32 = 1;
    type State = State;
    type Local = OrderChange;

    /// Everything is undone: the order has failed, in the same commit as the saga's end.
    fn on_unwound(state: &State, failure: &Failure) -> Option<OrderChange> {
        let failure = explain(failure);
        let give_key_back = failure.code.gives_key_back();
        let (order, refunded, placed) = (state.order, state.payment, state.placed());
        Some(OrderChange::Fail { order, failure, refunded, give_key_back, placed })
    }

    fn tell(state: &State, told: &Told<'_>) {
        story::tell(state.order, state.correlation(), told);
    }
}

/// The saga as data.
///
/// # Errors
/// Never, unless this function is edited.
pub fn definition(
    participants: &Arc<Participants>,
    policy: &Policy,
    deadline: Duration,
) -> Result<Definition<PlaceOrder>, DefinitionError> {
    Definition::builder()
        .deadline(deadline)
        .step(ReserveStock(Arc::clone(participants)), policy.clone())
        .step(ChargePayment(Arc::clone(participants)), policy.clone())
        .pivot(CommitStock(Arc::clone(participants)), policy.clone())
        .local(ConfirmOrder)
        .build()
}

/// What a failure of the saga is called towards customers. A reason that is not here is a disagreement between our services, not something
/// a customer can correct.
pub fn explain(failure: &Failure) -> domain::Failure {
    let (code, message) = match failure.kind {
        FailureKind::Refused => match Code::from_name(&failure.code) {
            Some(Code::InsufficientStock) => (FailureCode::InsufficientStock, failure.message.as_str()),
            Some(Code::PriceMismatch) => (FailureCode::PriceMismatch, failure.message.as_str()),
            Some(Code::UnknownSku) => (FailureCode::UnknownSku, failure.message.as_str()),
            Some(Code::Declined) => (FailureCode::PaymentDeclined, "the payment was declined"),
            Some(Code::InsufficientFunds) => {
                (FailureCode::PaymentDeclined, "the payment was declined: insufficient funds")
            }
            Some(Code::AmountLimitExceeded) => {
                (FailureCode::PaymentDeclined, "the payment was declined: the amount is above the limit")
            }
            Some(Code::ReservationExpired | Code::ReservationReleased) => (
                FailureCode::ReservationExpired,
                "the reservation of the goods expired before the order was done; the payment was refunded",
            ),
            _ => {
                let message = format!("a service refused the order unexpectedly ({})", failure.code);
                return domain::Failure { code: FailureCode::Internal, message };
            }
        },
        FailureKind::Exhausted | FailureKind::DeadlineExceeded => {
            (FailureCode::DependencyUnavailable, "a service this order depends on could not be reached in time")
        }
        FailureKind::Cancelled => (FailureCode::DependencyUnavailable, "the order was called off by an operator"),
    };
    domain::Failure { code, message: message.to_owned() }
}
