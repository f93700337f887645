//! Waiting for a saga, wherever it runs.

use amends_primitives::SagaId;
use amends_sql::SqlError;
use tokio::time::Instant;

use super::{Core, WaitLimits, in_time};
use crate::{domain::Order, saga::Waited};

/// What waiting came to.
#[derive(Debug)]
pub(super) enum Settled {
    /// The order as the saga left it.
    Yes(Order),
    /// The time is up, or only an operator can move the saga; the order as it stands, and where its saga is.
    NotYet(Order, saga_engine::Status),
    /// The saga unwinds because a service is away, and cannot be done with that at once either.
    Stuck,
}

impl Core {
    /// Waits until `saga` is done with `order`.
    pub(super) async fn settle(
        &self,
        saga: SagaId,
        order: Order,
        wait_limits: WaitLimits,
    ) -> Result<Settled, SqlError> {
        let id = order.head.id;
        let read_until = wait_limits.settle_until.max(wait_limits.accept_until);
        match self.wait(saga, wait_limits.settle_until).await {
            // The saga's end and the order's change are one commit, so what is read now is the end.
            Waited::Finished(_) => {
                let order = in_time(read_until, self.store.order(id)).await?;
                Ok(Settled::Yes(order.ok_or(SqlError::Corrupt { what: "order of a saga" })?))
            }
            Waited::Stuck => Ok(Settled::Stuck),
            Waited::Running(status) => Ok(Settled::NotYet(order, status)),
        }
    }

    /// Waits for the saga, but not for long once the process stops: it goes on without us, and its caller can ask for the order later.
    async fn wait(&self, saga: SagaId, until: Instant) -> Waited {
        let stopping = self.shutdown.stopping();
        let cut_short = async {
            stopping.cancelled().await;
            tokio::time::sleep(self.settings.stopping_wait).await;
        };
        let grace = self.settings.unwinding_grace;
        tokio::select! {
            waited = self.sagas.wait(saga, until, grace) => waited,
            // Where it is by now.
            () = cut_short => self.sagas.wait(saga, Instant::now(), grace).await,
        }
    }
}
