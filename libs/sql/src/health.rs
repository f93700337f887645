//! What the statements of a process have shown of its store, so that a readiness probe seldom needs a write of its own.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::Error;

use crate::{classes, classes::Class, counters::Counters, in_words, spans::Target};

/// A connection that was used this recently is taken to be alive, unless another has been lost since.
const FRESH: Duration = Duration::from_secs(1);

/// Shared by all connections of a store.
#[derive(Debug, Default)]
pub(crate) struct Health {
    known: Mutex<Known>,
    /// Held by the one caller that tests writing.
    pub(crate) testing: tokio::sync::Mutex<()>,
    pub(crate) counters: Counters,
    /// Which store it is, in spans.
    pub(crate) target: Target,
}

/// What is known of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// When it last made a change durable.
    pub(crate) written: Option<Instant>,
    /// What it said when it last could not do its work, if it has not made a change durable since.
    pub(crate) ill: Option<String>,
    /// What it said of damage, and when damage was last met or looked for.
    pub(crate) damaged: Option<(String, Instant)>,
    /// When a connection to it was last lost.
    lost: Option<Instant>,
}

impl Health {
    pub(crate) fn of(target: Target) -> Self {
        Self { target, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic while it was held leaves nothing half-done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    pub(crate) fn wrote(&self) {
        let mut known = self.lock();
        known.written = Some(Instant::now());
        if known.ill.take().is_some() {
            drop(known);
            tracing::info!("the store can be written again");
        }
    }

    /// A connection ended by itself: those that are idle may have, too.
    pub(crate) fn lost_a_connection(&self) {
        self.lock().lost = Some(Instant::now());
    }

    /// Whether a connection that has been idle for so long may be dead.
    pub(crate) fn doubts(&self, idle_for: Duration) -> bool {
        idle_for >= FRESH || self.lock().lost.is_some_and(|lost| lost.elapsed() <= idle_for)
    }

    pub(crate) fn failed(&self, error: &Error) {
        if Class::of(error) == Class::Damaged {
            let words = in_words(error);
            if self.lock().damaged.replace((words, Instant::now())).is_none() {
                tracing::error!(error = in_words(error), "the store is damaged; `amends doctor` looks at all of it");
            }
        } else if classes::is_store_failure(error) && self.lock().ill.replace(in_words(error)).is_none() {
            tracing::error!(error = in_words(error), "the store cannot do its work");
        }
    }

    /// It was looked for damage, and none was found.
    pub(crate) fn found_sound(&self) {
        if self.lock().damaged.take().is_some() {
            tracing::info!("no damage is found in the store any more");
        }
    }

    /// A check for damage has run, without showing that there is none.
    pub(crate) fn looked(&self, found: Option<String>) {
        if let Some((words, at)) = &mut self.lock().damaged {
            *at = Instant::now();
            if let Some(found) = found {
                *words = found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_doubted_when_idle_or_after_a_loss() {
        let health = Health::default();
        assert!(!health.doubts(Duration::from_millis(10)));
        assert!(health.doubts(FRESH));
        health.lost_a_connection();
        assert!(health.doubts(Duration::from_millis(500)), "it was idle when another was lost");
        assert!(!health.doubts(Duration::ZERO), "it was used after that");
    }
}
