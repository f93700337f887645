//! The pivot of a cancellation: refused unless the order is confirmed and not shipped.

use saga_engine::{LocalStep, StepContext};

use crate::saga::{
    OrderChange,
    cancel_order::{CancelOrder, State},
};

/// `mark_cancelling`
pub struct MarkCancelling;

impl LocalStep<CancelOrder> for MarkCancelling {
    const NAME: &'static str = "mark_cancelling";

    fn change(&self, state: &State, _context: &StepContext) -> OrderChange {
        OrderChange::MarkCancelling { order: state.order, by: state.by }
    }
}
