//! Holds the goods. Undone by releasing them.

use std::sync::Arc;

use amends_primitives::ReservationId;
use async_trait::async_trait;
use saga_engine::{Compensable, Outcome, Step, StepContext, Undo};

use super::{PlaceOrder, State};
use crate::saga::Participants;

/// `reserve_stock`
pub(super) struct ReserveStock(pub(super) Arc<Participants>);

#[async_trait]
impl Step<PlaceOrder> for ReserveStock {
    const NAME: &'static str = "reserve_stock";
    type Output = ReservationId;

    async fn act(&self, state: &State, context: &StepContext) -> Outcome<ReservationId> {
        let ask = state.reserve();
        self.0.call(state.correlation(), context, self.0.inventory.reserve(&ask, context)).await
    }

    fn record(state: &mut State, reservation: ReservationId) {
        state.reservation = Some(reservation);
    }
}

#[async_trait]
impl Compensable<PlaceOrder> for ReserveStock {
    async fn compensate(&self, state: &State, context: &StepContext) -> Undo {
        let ask = state.reserve();
        self.0.call(state.correlation(), context, self.0.inventory.release(&ask, context)).await
    }
}
