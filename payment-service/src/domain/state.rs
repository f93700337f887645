//! The state of a payment: each owns only its own data.
//!
//! Must not know: how one follows from another; that is `evolve`.

use super::{Capture, DeclineReason, Hold, Status};

/// A state owns only its own data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The intent is on record; what the processor did is not known.
    Pending,
    /// The money is held.
    Authorized(Hold),
    /// The money was taken.
    Captured(Capture),
    /// A part of it was given back.
    PartiallyRefunded(Capture),
    /// All of it was given back.
    Refunded(Capture),
    /// The processor refused: nothing was taken.
    Declined {
        /// Why.
        reason: DeclineReason,
    },
    /// The processor has confirmed that nothing was taken under the key and nothing ever will be.
    Voided {
        /// What had been held, where it had been.
        hold: Option<Hold>,
    },
}

impl State {
    /// Its name.
    pub const fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Authorized(_) => Status::Authorized,
            Self::Captured(_) => Status::Captured,
            Self::PartiallyRefunded(_) => Status::PartiallyRefunded,
            Self::Refunded(_) => Status::Refunded,
            Self::Declined { .. } => Status::Declined,
            Self::Voided { .. } => Status::Voided,
        }
    }

    /// The capture, where money was taken.
    pub const fn capture(&self) -> Option<&Capture> {
        match self {
            Self::Captured(capture) | Self::PartiallyRefunded(capture) | Self::Refunded(capture) => Some(capture),
            Self::Pending | Self::Authorized(_) | Self::Declined { .. } | Self::Voided { .. } => None,
        }
    }

    /// What is or was held, where it was.
    pub const fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Authorized(hold) => Some(hold),
            Self::Captured(capture) | Self::PartiallyRefunded(capture) | Self::Refunded(capture) => {
                capture.hold.as_ref()
            }
            Self::Voided { hold } => hold.as_ref(),
            Self::Pending | Self::Declined { .. } => None,
        }
    }
}

impl From<Capture> for State {
    /// The state that follows from what was given back.
    fn from(capture: Capture) -> Self {
        match capture.refunded().amount_minor() {
            0 => Self::Captured(capture),
            refunded if refunded < capture.amount.amount_minor() => Self::PartiallyRefunded(capture),
            _ => Self::Refunded(capture),
        }
    }
}
