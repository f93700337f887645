//! A clock that follows tokio's, so that a paused runtime moves both and a test of hours takes no time.

use amends_primitives::{Clock, Timestamp};
use tokio::time::Instant;

/// Tells tokio's time, from a fixed beginning. Make it inside the runtime.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    begun: Instant,
    at: Timestamp,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self { begun: Instant::now(), at: Timestamp::from_millis(1_700_000_000_000) }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.at + self.begun.elapsed()
    }
}
