//! Confirms the order, in the same commit as the saga's end.

use saga_engine::{LocalStep, StepContext};

use super::{PlaceOrder, State};
use crate::saga::OrderChange;

/// `confirm_order`
pub(super) struct ConfirmOrder;

impl LocalStep<PlaceOrder> for ConfirmOrder {
    const NAME: &'static str = "confirm_order";

    fn change(&self, state: &State, _context: &StepContext) -> OrderChange {
        let State { order, payment, reservation, .. } = *state;
        OrderChange::Confirm { order, payment, reservation, placed: state.placed() }
    }
}
