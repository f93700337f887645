//! The timeline of an order's saga.

use amends_primitives::OrderId;
use tokio::time::Instant;

use super::{Caller, Core, LookupError, NotFound, in_time};
use crate::{domain::State, saga::Timeline};

/// Which of an order's sagas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhichSaga {
    /// The one at work, or the last that was.
    #[default]
    Latest,
    /// The one that placed it.
    Place,
    /// The one that cancels it.
    Cancel,
}

impl Core {
    /// Steps, attempts, outcomes and times.
    ///
    /// # Errors
    /// When there is no such order or saga for this caller, or not now.
    pub async fn timeline(
        &self,
        caller: &Caller,
        id: OrderId,
        which: WhichSaga,
        until: Instant,
    ) -> Result<Timeline, LookupError> {
        let order = self.visible(caller, id, until).await?;
        let saga = match (which, &order.state) {
            (WhichSaga::Place, _) => order.head.saga,
            (WhichSaga::Latest, _) | (WhichSaga::Cancel, State::Cancelling { .. } | State::Cancelled { .. }) => {
                order.latest_saga()
            }
            (WhichSaga::Cancel, _) => return Err(NotFound.into()),
        };
        let timeline = in_time(until, self.sagas.timeline(saga)).await?;
        Ok(timeline.ok_or(NotFound)?)
    }
}
