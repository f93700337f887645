//! How many calls a dependency gets at once, and how many may wait.

mod layer;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{BulkheadConfig, Deadline, Stopped};

pub use layer::{BulkheadFuture, BulkheadLayer, BulkheadService};

struct Bulkhead {
    slots: Arc<Semaphore>,
    queued_max: u32,
    queued: AtomicU32,
    in_flight: Gauge,
}

/// A place among the calls in flight.
struct Slot {
    in_flight: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

/// A place in the queue, left also when the wait is given up.
struct Queued(Arc<Bulkhead>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bulkhead {
    fn new(config: &BulkheadConfig, in_flight: Gauge) -> Self {
        let slots = Arc::new(Semaphore::new(config.concurrent_max as usize));
        Self { slots, queued_max: config.queued_max, queued: AtomicU32::new(0), in_flight }
    }

    /// A permit, if one is free and no call waits for it.
    fn try_enter(&self) -> Option<Slot> {
        Some(self.slot(Arc::clone(&self.slots).try_acquire_owned().ok()?))
    }

    /// A position in the queue, if it has room.
    fn queue(self: &Arc<Self>) -> Option<Queued> {
        // Counted first, so that two calls cannot take the last position; a call that got none gives it back as it drops.
        let before = self.queued.fetch_add(1, Ordering::AcqRel);
        let queued = Queued(Arc::clone(self));
        (before < self.queued_max).then_some(queued)
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        self.in_flight.inc();
        Slot { in_flight: self.in_flight.clone(), _permit: permit }
    }
}

impl Queued {
    /// The slot that this place in the queue leads to, if one is free before the deadline.
    async fn turn(self, deadline: Deadline) -> Result<Slot, Stopped> {
        let bulkhead = &self.0;
        match tokio::time::timeout_at(deadline.instant(), Arc::clone(&bulkhead.slots).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(bulkhead.slot(permit)),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(Stopped::Full),
            Err(_) => Err(Stopped::TooLate),
        }
    }
}
