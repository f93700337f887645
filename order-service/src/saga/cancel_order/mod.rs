//! cancel-order: mark_cancelling (pivot, refused once shipped) · refund_payment · restock · mark_cancelled.
//!
//! The pivot is a change of our own tables, so it is never in doubt. Refund and restock are tried until they are done; money goes
//! back first, because the customer waits for it.

mod mark_cancelled;
mod mark_cancelling;
mod refund_payment;
mod restock;

use std::sync::Arc;

use amends_primitives::{OrderId, PaymentId, ReservationId, SagaId};
use saga_engine::{Definition, DefinitionError, Policy, Saga, Told};
use serde::{Deserialize, Serialize};

use super::{OrderChange, Participants, story};

use mark_cancelled::MarkCancelled;
use mark_cancelling::MarkCancelling;
use refund_payment::RefundPayment;
use restock::Restock;

/// Cancelling one order.
pub struct CancelOrder;

/// What cancelling one order knows. Stored: keep old shapes readable.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The order.
    pub order: OrderId,
    /// This saga.
    pub by: SagaId,
    /// What to refund. A confirmed order's payment never changes, so it is known from the start.
    pub payment: PaymentId,
    /// What to restock.
    pub reservation: ReservationId,
    /// The correlation id of the request, so that a resumed saga still carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl State {
    pub(super) fn correlation(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }
}

impl Saga for CancelOrder {
    const NAME: &'static str = "cancel-order";
    const VERSION: u32 = 1;
    type State = State;
    type Local = OrderChange;

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
) -> Result<Definition<CancelOrder>, DefinitionError> {
    Definition::builder()
        .local_pivot(MarkCancelling)
        .retriable(RefundPayment(Arc::clone(participants)), policy.clone())
        .retriable(Restock(Arc::clone(participants)), policy.clone())
        .local(MarkCancelled)
        .build()
}
