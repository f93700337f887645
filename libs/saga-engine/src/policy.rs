//! How long and how often: the limits of one step and of one saga.
//!
//! Must not know: what is being tried.

use std::time::Duration;

/// The limits of one step. `Policy::default()` suits a call within one data centre.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long one attempt may take: action, compensation or close. Default 500 ms.
    pub timeout: Duration,
    /// How many attempts an action before or at the pivot gets. Default 3.
    pub attempts_max: u32,
    /// Waits between these attempts.
    pub backoff: Backoff,
    /// Waits between attempts of what may not give up: compensations, closing the pivot, and steps after it.
    pub persistence: Persistence,
}

impl Policy {
    /// This policy with another bound on one attempt.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// This policy with another number of attempts before the pivot; at least one is made.
    #[must_use]
    pub const fn attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// This policy with other waits before the pivot.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// This policy with other waits for what may not give up.
    #[must_use]
    pub const fn persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(500),
            attempts_max: 3,
            backoff: Backoff::default(),
            persistence: Persistence::default(),
        }
    }
}

/// Exponential waits with a little jitter, for the few attempts a customer waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The wait after the first attempt; it doubles from there. Default 50 ms.
    pub first: Duration,
    /// No wait is longer. Default 2 s.
    pub cap: Duration,
    /// Each wait is spread evenly by this share to both sides. Default 0.3.
    pub spread: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), cap: Duration::from_secs(2), spread: 0.3 }
    }
}

/// Exponential waits with full jitter, for what is tried until it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Persistence {
    /// The longest first wait; it doubles from there. Default 100 ms.
    pub first: Duration,
    /// No wait is longer. Default 30 s.
    pub cap: Duration,
    /// After this number of attempts that ended by what asking again does not change
    /// ([`CauseKind::Permanent`](crate::CauseKind::Permanent)) the saga is parked and a human is told. Default 40, which takes
    /// about eight minutes. Attempts that the environment ended (nothing was sent, no answer in time, a store or a process that is
    /// away) do not count: they go on for as long as it takes.
    pub attempts_before_parking: u32,
}

impl Default for Persistence {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(30), attempts_before_parking: 40 }
    }
}

/// How much of a saga's way is journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journaling {
    /// Start, the decision to unwind, and the end; what happened between them is written with the next of these. After a crash
    /// steps are asked again under their keys, and participants answer as before.
    #[default]
    Decisions,
    /// Also each outcome before the next attempt, and with it that attempt: one commit for a step that is done at once. For participants
    /// that are slow or costly to ask again. The saga's first attempts are written with their outcomes: until then its row, which has no
    /// events yet, says that they are next.
    EveryStep,
}
