//! Watching an order: it as it stands, and again after each change, until none is to come.

use std::{sync::Arc, time::Duration};

use amends_primitives::OrderId;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};

use super::{Caller, Core, Failed, LookupError, in_time};
use crate::domain::Order;

/// An order and where its latest saga is, or why the watching ended early.
pub type Watched = Result<(Order, saga_engine::Status), Failed>;

/// How long one look at the store may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

impl Core {
    /// Sends the order now and after each change, and ends once it is settled, at `until`, or at shutdown.
    ///
    /// # Errors
    /// When there is no such order for this caller, too many are being watched, or not now.
    pub async fn watch_order(
        self: &Arc<Self>,
        caller: &Caller,
        id: OrderId,
        until: Instant,
    ) -> Result<mpsc::Receiver<Watched>, LookupError> {
        let place = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| Failed::Overloaded)?;
        let order = self.visible(caller, id, Instant::now() + LOOK_MAX).await?;
        let until = until.min(Instant::now() + self.settings.watch_max);
        // A slow reader is waited for; it sees fewer steps in between, never a stale end.
        let (sender, receiver) = mpsc::channel(1);
        let core = Arc::clone(self);
        self.shutdown.spawn("watch-order", async move { core.watch(order, until, sender, place).await });
        Ok(receiver)
    }

    async fn watch(
        &self,
        mut order: Order,
        until: Instant,
        sender: mpsc::Sender<Watched>,
        _permit: OwnedSemaphorePermit,
    ) {
        let mut sent = None;
        let mut pause = self.settings.poll_min;
        loop {
            let saga = match self.saga_status(&order, Instant::now() + LOOK_MAX).await {
                Ok(saga) => saga,
                Err(LookupError::Failed(error)) => return tell(&sender, Err(error)).await,
                Err(LookupError::NotFound(_)) => return,
            };
            if sent != Some((order.version, saga)) {
                sent = Some((order.version, saga));
                pause = self.settings.poll_min;
                let done = !order.status().is_in_motion();
                if sender.send(Ok((order.clone(), saga))).await.is_err() || done {
                    return;
                }
            }
            let shutdown = self.shutdown.token();
            tokio::select! {
                () = self.sagas.settled(order.latest_saga(), Instant::now() + pause) => {}
                () = tokio::time::sleep_until(until) => return,
                () = sender.closed() => return,
                () = shutdown.cancelled() => return tell(&sender, Err(Failed::Overloaded)).await,
            }
            pause = (pause * 2).min(self.settings.poll_max);
            match in_time(Instant::now() + LOOK_MAX, self.store.order(order.head.id)).await {
                Ok(Some(now)) => order = now,
                Ok(None) => return,
                Err(error) => return tell(&sender, Err(error.into())).await,
            }
        }
    }
}

async fn tell(sender: &mpsc::Sender<Watched>, word: Watched) {
    // A reader who went away needs no word.
    let _ = sender.send(word).await;
}
