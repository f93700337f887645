//! Why a command was refused: a business answer, raised before anything is written.

use super::BasketProblem;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The lines are no order.
    #[error(transparent)]
    Basket(#[from] BasketProblem),
    /// There would be nothing to pay.
    #[error("the order's total must be more than zero")]
    NothingToPay,
    /// The command does not fit the state.
    #[error("an order that is {state} cannot {command}")]
    NotAllowed {
        /// Where the order stands.
        state: &'static str,
        /// What was asked.
        command: &'static str,
    },
}
