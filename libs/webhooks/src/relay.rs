//! Moves events from the outbox to the endpoints' deliveries, and deletes old deliveries.
//!
//! Must not know: HTTP.

use service_kit::shutdown::Shutdown;

use super::{PAUSE_AFTER_FAILURE, Webhooks};
use crate::store::NewDelivery;

/// Read at once; each has a few hundred bytes.
const BATCH: u32 = 100;

impl<E: std::error::Error + Send + Sync + 'static> Webhooks<E> {
    pub(super) async fn run_relay(&self, shutdown: &Shutdown) {
        loop {
            let pause = tokio::select! {
                biased;
                () = shutdown.triggered() => return,
                pause = self.relay_all() => pause,
            };
            tokio::select! {
                biased;
                () = shutdown.triggered() => return,
                () = self.0.outbox.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn relay_all(&self) -> std::time::Duration {
        let result = async {
            self.relay().await?;
            if self.time_to_forget() {
                self.forget().await?;
            }
            Ok::<_, E>(())
        };
        match result.await {
            Ok(()) => self.0.sweep,
            Err(error) => {
                tracing::warn!(%error, "webhooks cannot be taken out of the outbox");
                PAUSE_AFTER_FAILURE.min(self.0.sweep)
            }
        }
    }

    /// Makes deliveries of all that is in the outbox. How many events that were.
    ///
    /// # Errors
    /// When the store fails. Nothing is lost, and nothing made twice.
    pub async fn relay(&self) -> Result<usize, E> {
        let mut relayed = 0;
        loop {
            let events = self.0.store.outbox(BATCH).await?;
            let now = self.now();
            let deliveries: Vec<NewDelivery<'_>> = events
                .iter()
                .flat_map(|event| {
                    let wanting = self.0.endpoints.iter().filter(|endpoint| endpoint.wanted.contains(&event.kind));
                    wanting.map(|endpoint| NewDelivery { event, endpoint: &endpoint.target.name, at: now })
                })
                .collect();
            // First what is to be done, then that it need not be remembered otherwise.
            if !deliveries.is_empty() {
                self.0.store.enqueue(&deliveries).await?;
                self.ring_endpoints();
            }
            self.0.store.clear(&events).await?;
            relayed += events.len();
            if events.len() < BATCH as usize {
                return Ok(relayed);
            }
        }
    }

    /// Forgets what was delivered, or has been dead, for long enough; in small batches.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self) -> Result<(), E> {
        let before = self.now() - self.0.kept;
        while self.0.store.forget(before, BATCH).await? == u64::from(BATCH) {}
        Ok(())
    }
}
