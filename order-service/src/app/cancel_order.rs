//! Cancelling an order: begin the saga, await its end or the deadline. Cancelling twice is cancelling once.

use std::sync::Arc;

use amends_primitives::{OrderId, SagaId};
use service_base::context;

use super::{Caller, Core, Failed, LookupError, NotFound, WaitLimits, current_trace, in_time, settle::Settled};
use crate::{
    domain::{Command, Order, Rejection, State, decide},
    ports::SagaStart,
    saga::cancel_order as saga,
};

/// The answer to cancelling an order.
#[derive(Debug, Clone)]
pub struct Cancelled {
    /// The order: cancelled, or as it stands at the deadline.
    pub order: Order,
    /// Where its saga is.
    pub saga: saga_engine::Status,
}

/// Why there is no such answer.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such order.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It is too late, or too early.
    #[error(transparent)]
    NotCancellable(#[from] Rejection),
    /// Not now.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl From<LookupError> for CancelError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotFound(error) => Self::NotFound(error),
            LookupError::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<amends_sql::SqlError> for CancelError {
    fn from(error: amends_sql::SqlError) -> Self {
        Self::Failed(Failed::Store(error))
    }
}

impl Core {
    /// Cancels an order.
    ///
    /// # Errors
    /// When there is no such order for this caller, when it cannot be cancelled, or not now.
    pub async fn cancel_order(
        self: &Arc<Self>,
        caller: &Caller,
        id: OrderId,
        wait_limits: WaitLimits,
    ) -> Result<Cancelled, CancelError> {
        let order = self.visible(caller, id, wait_limits.accept_until).await?;
        let _permit = self.permits.try_acquire().map_err(|_| Failed::Overloaded)?;
        let saga = match &order.state {
            State::Confirmed { .. } => return self.cancel_confirmed(order, wait_limits).await,
            State::Cancelling { by, .. } | State::Cancelled { by, .. } => *by,
            State::New | State::Pending | State::Failed { .. } | State::Shipped { .. } => return Err(refusal(&order)),
        };
        self.await_decided(saga, order, wait_limits).await
    }

    /// A cancellation that is new work, and waits for its turn.
    async fn cancel_confirmed(
        self: &Arc<Self>,
        order: Order,
        wait_limits: WaitLimits,
    ) -> Result<Cancelled, CancelError> {
        let working = self.turn(wait_limits.accept_until).await?;
        let saga = self.begin_cancelling(&order, wait_limits).await?;
        let held = self.hold(saga, working);
        let answer = self.await_decided(saga, order, wait_limits).await?;
        if !answer.saga.is_active() {
            held.settled();
        }
        Ok(answer)
    }

    async fn await_decided(
        &self,
        saga: SagaId,
        order: Order,
        wait_limits: WaitLimits,
    ) -> Result<Cancelled, CancelError> {
        let answer = self.await_cancelled(saga, order, wait_limits).await?;
        match answer.order.state {
            State::Cancelled { .. } | State::Cancelling { .. } if answer.order.latest_saga() == saga => Ok(answer),
            // The pivot was refused because another cancellation was first: that one is the answer.
            State::Cancelled { by, .. } | State::Cancelling { by, .. } => {
                self.await_cancelled(by, answer.order, wait_limits).await
            }
            // Still confirmed and undecided: the time was up before the saga got to its pivot.
            State::Confirmed { .. } if answer.saga.is_active() => Ok(answer),
            State::New | State::Pending | State::Confirmed { .. } | State::Failed { .. } | State::Shipped { .. } => {
                Err(refusal(&answer.order))
            }
        }
    }

    async fn begin_cancelling(self: &Arc<Self>, order: &Order, wait_limits: WaitLimits) -> Result<SagaId, CancelError> {
        let State::Confirmed { receipt, .. } = &order.state else { return Err(refusal(order)) };
        let saga = SagaId::new(self.ids.next_id());
        let input = saga::State {
            order: order.head.id,
            by: saga,
            payment: receipt.payment,
            reservation: receipt.reservation,
            correlation_id: context::current_correlation().map(|id| id.as_str().to_owned()),
        };
        let begin = Arc::new(self.sagas.cancel(saga, input, current_trace()));
        let core = Arc::clone(self);
        // As with placing: what is committed is launched, whether or not the caller still waits.
        let writing = self.shutdown.spawn("start-cancel", async move {
            let begun = core.store.begin(Arc::clone(&begin) as Arc<dyn SagaStart>).await;
            begun.inspect(|()| begin.launch())
        });
        match tokio::time::timeout_at(wait_limits.accept_until, writing).await {
            Ok(Ok(begun)) => begun.map_err(Failed::from)?,
            Ok(Err(_)) => {
                return Err(amends_sql::SqlError::Unexpected { what: "the task that writes the saga stopped" }.into());
            }
            Err(_) => return Err(amends_sql::SqlError::TimedOut.into()),
        }
        Ok(saga)
    }

    /// Waits for a cancellation, which may or may not have reached its pivot.
    async fn await_cancelled(
        &self,
        saga: SagaId,
        order: Order,
        wait_limits: WaitLimits,
    ) -> Result<Cancelled, CancelError> {
        let id = order.head.id;
        if matches!(order.state, State::Cancelled { by, .. } if by == saga) {
            return Ok(Cancelled { order, saga: saga_engine::Status::Completed });
        }
        match self.settle(saga, order, wait_limits).await? {
            Settled::Yes(order) => Ok(Cancelled { order, saga: saga_engine::Status::Completed }),
            // It does not unwind when a service is missing: before its pivot there is nothing to undo, and after it the saga goes
            // forward.
            Settled::Stuck => Err(amends_sql::SqlError::TimedOut.into()),
            Settled::NotYet(order, status) => {
                let until = wait_limits.accept_until.max(wait_limits.settle_until) + LAST_LOOK;
                let order = in_time(until, self.store.order(id)).await?.unwrap_or(order);
                Ok(Cancelled { order, saga: status })
            }
        }
    }
}

/// At its deadline a cancellation has usually passed its pivot: one more look says so.
const LAST_LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// Why an order in this state cannot be cancelled, in the rule's own words.
fn refusal(order: &Order) -> CancelError {
    let by = order.latest_saga();
    match decide(&order.state, &Command::MarkCancelling { by }, order.updated_at) {
        Err(rejection) => CancelError::NotCancellable(rejection),
        Ok(_) => CancelError::NotCancellable(Rejection::NotAllowed { state: order.state.name(), command: "cancel" }),
    }
}
