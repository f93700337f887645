//! Gives the money of a confirmed order back. After the pivot: tried until it is done.

use std::sync::Arc;

use async_trait::async_trait;
use saga_engine::{Outcome, Step, StepContext};

use super::{CancelOrder, State};
use crate::saga::Participants;

/// `refund_payment`
pub(super) struct RefundPayment(pub(super) Arc<Participants>);

#[async_trait]
impl Step<CancelOrder> for RefundPayment {
    const NAME: &'static str = "refund_payment";
    type Output = ();

    async fn act(&self, state: &State, context: &StepContext) -> Outcome<()> {
        let call = self.0.payments.refund(state.payment, context);
        self.0.call(state.correlation(), context, call).await
    }

    fn record(_state: &mut State, (): ()) {}
}
