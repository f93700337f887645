//! What a circuit breaker shows of itself.

/// Whether calls are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They are not.
    Open,
    /// Some are, to see whether the dependency has recovered.
    HalfOpen,
}

impl BreakerState {
    /// For span attributes and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
