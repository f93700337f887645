//! What may be asked of an order.

use amends_primitives::{PaymentId, SagaId};

use super::{Failure, Line, Receipt};

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A customer orders these lines.
    Place {
        /// Priced, in one currency.
        lines: Vec<Line>,
    },
    /// Everything is paid for and committed.
    Confirm {
        /// What the order holds now.
        receipt: Receipt,
    },
    /// It could not be done, and everything is undone.
    Fail {
        /// Why.
        failure: Failure,
        /// The payment that was taken and given back, where it came to that.
        refunded: Option<PaymentId>,
    },
    /// Begin to cancel: the point of no return.
    MarkCancelling {
        /// The run that does it.
        by: SagaId,
    },
    /// The money is back and so are the goods.
    MarkCancelled {
        /// The run that did it.
        by: SagaId,
    },
    /// The carrier has it.
    Ship,
}

impl Command {
    /// For messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::Confirm { .. } => "confirm",
            Self::Fail { .. } => "fail",
            Self::MarkCancelling { .. } => "cancel",
            Self::MarkCancelled { .. } => "mark as cancelled",
            Self::Ship => "ship",
        }
    }
}
