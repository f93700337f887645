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
use saga_engine::{Definition, DefinitionError, Failure, FailureKind, Policy, Saga};
use serde::{Deserialize, Serialize};

use super::{OrderChange, Participants};
use crate::{
    domain::{self, CustomerId, Line, PaymentMethod},
    ports::{Charge, Reserve},
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
        let give_key_back = gives_key_back(&failure.code);
        Some(OrderChange::Fail { order: state.order, failure, refunded: state.payment, give_key_back })
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

/// What a failure of the saga is called towards customers. Exhaustive over what participants refuse with; a reason that is not
/// here is a disagreement between our services, not something a customer can mend.
pub fn explain(failure: &Failure) -> domain::Failure {
    let (code, message) = match failure.kind {
        FailureKind::Refused => match failure.code.as_str() {
            "insufficient_stock" => ("insufficient_stock", failure.message.clone()),
            "price_mismatch" => ("price_mismatch", failure.message.clone()),
            "unknown_sku" => ("unknown_sku", failure.message.clone()),
            "declined" => ("payment_declined", "the payment was declined".to_owned()),
            "insufficient_funds" => ("payment_declined", "the payment was declined: insufficient funds".to_owned()),
            "amount_limit_exceeded" => {
                ("payment_declined", "the payment was declined: the amount is above the limit".to_owned())
            }
            "reservation_expired" | "reservation_released" => (
                "reservation_expired",
                "the reservation of the goods expired before the order was done; the payment was refunded".to_owned(),
            ),
            _ => (INTERNAL, format!("a service refused the order unexpectedly ({})", failure.code)),
        },
        FailureKind::Exhausted | FailureKind::DeadlineExceeded => {
            (DEPENDENCY_UNAVAILABLE, "a service this order depends on could not be reached in time".to_owned())
        }
        FailureKind::Cancelled => (DEPENDENCY_UNAVAILABLE, "the order was called off by an operator".to_owned()),
    };
    domain::Failure { code: code.to_owned(), message }
}

/// The code of an order that failed for want of a service.
pub const DEPENDENCY_UNAVAILABLE: &str = "dependency_unavailable";
/// The code of an order that failed for a disagreement between our services.
pub const INTERNAL: &str = "internal";

/// Whether the same request may be tried anew under its key. A settled answer is kept: it would be the same again, or the customer
/// must decide. What failed for our own reasons never uses a key up.
pub fn gives_key_back(code: &str) -> bool {
    match code {
        "insufficient_stock" | "price_mismatch" | "payment_declined" | "reservation_expired" => false,
        // `unknown_sku`, `dependency_unavailable`, `internal`
        _ => true,
    }
}
