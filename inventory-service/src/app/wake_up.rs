//! The sweeper's alarm clock.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use amends_primitives::Timestamp;
use tokio::sync::Notify;

/// Tells a sleeping sweeper of reservations that are due before it meant to wake up.
#[derive(Debug, Clone)]
pub(super) struct WakeUp(Arc<(AtomicI64, Notify)>);

impl Default for WakeUp {
    fn default() -> Self {
        // No task sleeps yet; the first look at the store sees everything.
        Self(Arc::new((AtomicI64::new(i64::MAX), Notify::new())))
    }
}

impl WakeUp {
    /// Something is due at that time. Also wakes a sweeper that should be awake by now: the clock may have jumped.
    pub(super) fn at(&self, due: Timestamp, now: Timestamp) {
        let (planned, notify) = &*self.0;
        let planned = planned.load(Ordering::SeqCst);
        if due.as_micros() < planned || planned <= now.as_micros() {
            notify.notify_one();
        }
    }

    /// When the sweeper means to wake up.
    pub(super) fn plan(&self, wake_at: Timestamp) {
        self.0.0.store(wake_at.as_micros(), Ordering::SeqCst);
    }

    pub(super) async fn notified(&self) {
        self.0.1.notified().await;
    }
}
