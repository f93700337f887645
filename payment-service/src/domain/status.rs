//! The names of states, as they are stored, counted and shown.
//!
//! Must not know: what a state holds.

/// The name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// See [`State::Pending`](super::State::Pending).
    Pending,
    /// See [`State::Authorized`](super::State::Authorized).
    Authorized,
    /// See [`State::Captured`](super::State::Captured).
    Captured,
    /// See [`State::PartiallyRefunded`](super::State::PartiallyRefunded).
    PartiallyRefunded,
    /// See [`State::Refunded`](super::State::Refunded).
    Refunded,
    /// See [`State::Declined`](super::State::Declined).
    Declined,
    /// See [`State::Voided`](super::State::Voided).
    Voided,
}

amends_primitives::words!(
    Status,
    /// The name that is stored and shown.
    name {
        Pending => "pending",
        Authorized => "authorized",
        Captured => "captured",
        PartiallyRefunded => "partially_refunded",
        Refunded => "refunded",
        Declined => "declined",
        Voided => "voided",
    }
);
