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

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Authorized,
        Self::Captured,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Declined,
        Self::Voided,
    ];

    /// The name that is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Declined => "declined",
            Self::Voided => "voided",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}
