//! The end of a cancellation, in the same commit as the saga's end.

use saga_engine::{LocalStep, StepContext};

use super::{CancelOrder, State};
use crate::saga::OrderChange;

/// `mark_cancelled`
pub(super) struct MarkCancelled;

impl LocalStep<CancelOrder> for MarkCancelled {
    const NAME: &'static str = "mark_cancelled";

    fn change(&self, state: &State, _context: &StepContext) -> OrderChange {
        OrderChange::MarkCancelled { order: state.order, by: state.by }
    }
}
