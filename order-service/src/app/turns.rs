//! Room for an order or a cancellation among those that are worked on: taken before anything is written, and held until the saga has
//! settled, whether or not its caller still waits.

use std::{sync::Arc, time::Duration};

use amends_primitives::SagaId;
use amends_resilience::{Turn, Working};
use tokio::time::Instant;

use super::{Core, Failed};

/// A saga that takes longer than a caller waits for it is itself waiting for a participant, and costs nothing meanwhile.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Held by a saga that has been launched. Dropped before the saga has settled, because its caller has left or does not wait, the room is
/// kept until it has.
pub(super) struct Held {
    core: Arc<Core>,
    saga: SagaId,
    working: Option<Working>,
}

impl Core {
    /// Waits for a turn, until then.
    ///
    /// # Errors
    /// [`Failed::Overloaded`], at once where the wait would be long.
    pub(super) async fn turn(&self, until: Instant) -> Result<Working, Failed> {
        match self.admission.enter().map_err(|_| Failed::Overloaded)? {
            Turn::Now(working) => Ok(working),
            Turn::Soon(waiting) => match tokio::time::timeout_at(until, waiting.turn()).await {
                Ok(Some(working)) => Ok(working),
                _ => Err(Failed::Overloaded),
            },
        }
    }

    /// Keeps the room for that saga.
    pub(super) fn hold(self: &Arc<Self>, saga: SagaId, working: Working) -> Held {
        Held { core: Arc::clone(self), saga, working: Some(working) }
    }
}

impl Held {
    /// The saga has settled.
    pub(super) fn settled(mut self) {
        if let Some(working) = self.working.take() {
            working.done();
        }
    }

    /// There is no such saga, or it waits for a service that is away.
    pub(super) fn came_to_nothing(mut self) {
        self.working = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(working) = self.working.take() else { return };
        // Dropped with its runtime, nothing is worked on any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (sagas, saga, stopping) = (self.core.sagas.clone(), self.saga, self.core.shutdown.stopping());
        runtime.spawn(async move {
            tokio::select! {
                () = sagas.settled(saga, Instant::now() + HELD_MAX) => working.done(),
                () = stopping.cancelled() => {}
            }
        });
    }
}
