//! Reading one order.

use amends_primitives::OrderId;
use tokio::time::Instant;

use super::{Caller, Core, LookupError, in_time};
use crate::domain::{Order, State};

impl Core {
    /// The order and where its latest saga is.
    ///
    /// # Errors
    /// When there is no such order for this caller, or not now.
    pub async fn get_order(
        &self,
        caller: &Caller,
        id: OrderId,
        until: Instant,
    ) -> Result<(Order, saga_engine::Status), LookupError> {
        let order = self.visible(caller, id, until).await?;
        let saga = self.saga_status(&order, until).await?;
        Ok((order, saga))
    }

    /// Where an order's latest saga is. The order itself tells, unless one is at work on it.
    pub(super) async fn saga_status(&self, order: &Order, until: Instant) -> Result<saga_engine::Status, LookupError> {
        if let Some(status) = settled_status(order) {
            return Ok(status);
        }
        let status = in_time(until, self.sagas.status(order.latest_saga())).await?;
        Ok(status.unwrap_or(saga_engine::Status::Running))
    }
}

/// The status of the latest saga of an order that none is at work on.
pub(super) fn settled_status(order: &Order) -> Option<saga_engine::Status> {
    match order.state {
        State::New | State::Pending | State::Cancelling { .. } => None,
        State::Failed { .. } => Some(saga_engine::Status::Unwound),
        State::Confirmed { .. } | State::Cancelled { .. } | State::Shipped { .. } => {
            Some(saga_engine::Status::Completed)
        }
    }
}
