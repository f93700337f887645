//! The pivot of a cancellation: refused unless the order is confirmed and not shipped.

use saga_engine::{LocalStep, StepContext};

use super::{CancelOrder, State};
use crate::saga::OrderChange;

/// `mark_cancelling`
pub(super) struct MarkCancelling;

impl LocalStep<CancelOrder> for MarkCancelling {
    const NAME: &'static str = "mark_cancelling";

    fn change(&self, state: &State, _context: &StepContext) -> OrderChange {
        OrderChange::MarkCancelling { order: state.order, by: state.by }
    }
}
