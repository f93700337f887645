//! Takes the money. Undone by giving back whatever was taken under the same key, or by seeing to it that nothing ever will be.

use std::sync::Arc;

use amends_primitives::PaymentId;
use async_trait::async_trait;
use saga_engine::{Compensable, Outcome, Step, StepContext, Undo};

use super::{PlaceOrder, State};
use crate::saga::Participants;

/// `charge_payment`
pub(super) struct ChargePayment(pub(super) Arc<Participants>);

#[async_trait]
impl Step<PlaceOrder> for ChargePayment {
    const NAME: &'static str = "charge_payment";
    type Output = PaymentId;

    async fn act(&self, state: &State, context: &StepContext) -> Outcome<PaymentId> {
        let ask = state.charge();
        self.0.call(state.correlation(), context, self.0.payments.charge(&ask, context)).await
    }

    fn record(state: &mut State, payment: PaymentId) {
        state.payment = Some(payment);
    }
}

#[async_trait]
impl Compensable<PlaceOrder> for ChargePayment {
    async fn compensate(&self, state: &State, context: &StepContext) -> Undo {
        let ask = state.charge();
        self.0.call(state.correlation(), context, self.0.payments.compensate(&ask, context)).await
    }
}
