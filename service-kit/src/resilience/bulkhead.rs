//! How many calls a dependency gets at once, and how many may wait.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{BulkheadConfig, Deadline};

pub(super) struct Bulkhead {
    slots: Arc<Semaphore>,
    config: BulkheadConfig,
    queued: AtomicU32,
    in_flight: Gauge,
}

/// A place among the calls in flight.
pub(super) struct Slot {
    in_flight: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    DeadlinePassed,
}

/// Counts a waiting call while it waits, also when it is given up.
struct Queued<'a>(&'a AtomicU32);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bulkhead {
    pub(super) fn new(config: BulkheadConfig, in_flight: Gauge) -> Self {
        let slots = Arc::new(Semaphore::new(config.concurrent_max as usize));
        Self { slots, config, queued: AtomicU32::new(0), in_flight }
    }

    pub(super) fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// A place, waiting for one until the deadline if the queue has room.
    pub(super) async fn enter(&self, deadline: Deadline) -> Result<Slot, Refused> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(self.slot(permit));
        }
        let queued = Queued(&self.queued);
        if self.queued.fetch_add(1, Ordering::AcqRel) >= self.config.queued_max {
            return Err(Refused::Full);
        }
        let permit = tokio::time::timeout_at(deadline.instant(), Arc::clone(&self.slots).acquire_owned()).await;
        drop(queued);
        match permit {
            Ok(Ok(permit)) => Ok(self.slot(permit)),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(Refused::Full),
            Err(_) => Err(Refused::DeadlinePassed),
        }
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        self.in_flight.inc();
        Slot { in_flight: self.in_flight.clone(), _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_runs_one_waits_the_third_is_refused() {
        let bulkhead = Arc::new(Bulkhead::new(BulkheadConfig { concurrent_max: 1, queued_max: 1 }, Gauge::default()));
        let far = Deadline::after(Duration::from_secs(10));
        let first = bulkhead.enter(far).await.ok().unwrap();
        let second = tokio::spawn({
            let bulkhead = Arc::clone(&bulkhead);
            async move { bulkhead.enter(far).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(bulkhead.enter(far).await.err(), Some(Refused::Full));
        assert_eq!(bulkhead.in_flight(), 1);
        drop(first);
        assert!(second.await.unwrap());
        assert_eq!(bulkhead.in_flight(), 0);

        let _held = bulkhead.enter(far).await.ok().unwrap();
        let near = Deadline::after(Duration::from_millis(5));
        assert_eq!(bulkhead.enter(near).await.err(), Some(Refused::DeadlinePassed));
        assert_eq!(bulkhead.queued.load(Ordering::Acquire), 0);
    }
}
