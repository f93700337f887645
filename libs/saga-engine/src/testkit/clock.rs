//! A clock that follows tokio's, so that a paused runtime moves both and a test of hours takes no time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use amends_primitives::{Clock, Moment, Timestamp};
use tokio::time::Instant;

/// Tells tokio's time, from a fixed beginning, and can be set. Make it inside the runtime. Clones are one clock.
#[derive(Debug, Clone)]
pub struct TokioClock {
    begun: Instant,
    at: Timestamp,
    /// Microseconds by which the wall clock was set.
    set_by: Arc<AtomicI64>,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self { begun: Instant::now(), at: Timestamp::from_millis(1_700_000_000_000), set_by: Arc::default() }
    }
}

impl TokioClock {
    /// Another machine's clock: it tells the same time until one of them is set.
    #[must_use]
    pub fn of_another_machine(&self) -> Self {
        Self { set_by: Arc::new(AtomicI64::new(self.set_by.load(Ordering::SeqCst))), ..self.clone() }
    }

    /// The wall clock is set forward by `step`.
    pub fn step_forward(&self, step: Duration) {
        self.set_by.fetch_add(i64::try_from(step.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// The wall clock is set back by `step`.
    pub fn step_back(&self, step: Duration) {
        self.set_by.fetch_sub(i64::try_from(step.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let unset = self.at + self.begun.elapsed();
        Timestamp::from_micros(unset.as_micros().saturating_add(self.set_by.load(Ordering::SeqCst)))
    }

    fn moment(&self) -> Moment {
        Moment::from_beginning(self.begun.elapsed())
    }
}
