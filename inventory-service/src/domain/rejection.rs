//! Why a request about stock is refused. A rejection is an answer: it is stored under the step key, so that a repeat (or a
//! delayed twin) of a refused request is refused in the same words, whatever happened to the stock meanwhile.

use amends_primitives::{Money, ReservationId};
use serde::{Deserialize, Serialize};

use super::{Sku, State};

/// A refusal that surely had no effect. The serialised form is stored: see `tests/golden`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Rejection {
    /// Nothing is sold under this SKU.
    #[error("there is no item {sku}")]
    UnknownSku {
        /// The line's.
        sku: Sku,
    },
    /// The caller expects another price than the catalogue's.
    #[error("{sku} costs {actual}, not {expected}")]
    PriceMismatch {
        /// The line's.
        sku: Sku,
        /// What the caller wants to pay.
        expected: Money,
        /// What the catalogue says.
        actual: Money,
    },
    /// Fewer units can be reserved than asked for.
    #[error("{available} of {sku} are available, {requested} were asked for")]
    InsufficientStock {
        /// The line's.
        sku: Sku,
        /// Units asked for.
        requested: u32,
        /// Units that could be reserved.
        available: i64,
    },
    /// No reservation has this id.
    #[error("there is no reservation {reservation}")]
    ReservationNotFound {
        /// As asked.
        reservation: ReservationId,
    },
    /// The reservation's time had passed, and its goods may be another customer's.
    #[error("reservation {reservation} has expired")]
    ReservationExpired {
        /// As asked.
        reservation: ReservationId,
    },
    /// The reservation was released before.
    #[error("reservation {reservation} has been released")]
    ReservationReleased {
        /// As asked.
        reservation: ReservationId,
    },
    /// The command does not fit the reservation's state in another way.
    #[error("cannot {command} reservation {reservation}: it is {}", state.name())]
    NotAllowed {
        /// As asked.
        reservation: ReservationId,
        /// What it is.
        state: State,
        /// What was asked.
        command: Box<str>,
    },
}
