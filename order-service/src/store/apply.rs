//! What sagas change in our own tables, applied in the journal's transaction.

use amends_primitives::{OrderId, PaymentId, ReservationId, SagaId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::{ApplyLocal, LocalOutcome, Refusal};

use crate::{
    domain::{Applied, Command, Failure, Receipt},
    metrics::Meters,
    store,
};

/// A change to an order that commits with its saga's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderChange {
    /// Everything is paid for and committed.
    Confirm {
        /// Which order.
        order: OrderId,
        /// From `charge_payment`.
        payment: Option<PaymentId>,
        /// From `reserve_stock`.
        reservation: Option<ReservationId>,
    },
    /// Everything is undone.
    Fail {
        /// Which order.
        order: OrderId,
        /// Why.
        failure: Failure,
        /// The payment that was taken and given back.
        refunded: Option<PaymentId>,
        /// Whether the same request may be tried anew.
        give_key_back: bool,
    },
    /// The cancellation's pivot.
    MarkCancelling {
        /// Which order.
        order: OrderId,
        /// Which saga.
        by: SagaId,
    },
    /// The cancellation's end.
    MarkCancelled {
        /// Which order.
        order: OrderId,
        /// Which saga.
        by: SagaId,
    },
}

impl OrderChange {
    /// The order, the command, and whether the idempotency key is given back.
    pub(super) fn command(&self) -> Result<(OrderId, Command, bool), Refusal> {
        Ok(match self.clone() {
            Self::Confirm { order, payment, reservation } => match (payment, reservation) {
                (Some(payment), Some(reservation)) => {
                    (order, Command::Confirm { receipt: Receipt { payment, reservation } }, false)
                }
                // Comes after the pivot, so the engine tries again and then parks: a human sees it, nothing is lost.
                _ => {
                    return Err(Refusal::new(
                        "missing_output",
                        "the saga's state lacks the payment or the reservation",
                    ));
                }
            },
            Self::Fail { order, failure, refunded, give_key_back } => {
                (order, Command::Fail { failure, refunded }, give_key_back)
            }
            Self::MarkCancelling { order, by } => (order, Command::MarkCancelling { by }, false),
            Self::MarkCancelled { order, by } => (order, Command::MarkCancelled { by }, false),
        })
    }
}

/// Applies [`OrderChange`]s to the order store.
pub struct ApplyToOrders {
    dialect: Dialect,
    meters: Meters,
}

impl ApplyToOrders {
    /// To a store of that kind.
    pub const fn new(dialect: Dialect, meters: Meters) -> Self {
        Self { dialect, meters }
    }
}

#[async_trait]
impl ApplyLocal for ApplyToOrders {
    type Local = OrderChange;

    async fn apply_in_tx(&self, tx: &mut Tx, local: &OrderChange, now: Timestamp) -> Result<LocalOutcome, SqlError> {
        let (order, command, give_key_back) = match local.command() {
            Ok(command) => command,
            Err(refusal) => return Ok(LocalOutcome::Refused(refusal)),
        };
        match store::change_in_tx(self.dialect, tx, order, &command, now, give_key_back).await? {
            Ok(Applied::Now(changed)) => {
                self.meters.changed(order, &changed, now);
                Ok(LocalOutcome::Applied)
            }
            Ok(Applied::Already) => Ok(LocalOutcome::Applied),
            Err(rejection) => Ok(LocalOutcome::Refused(Refusal::new("order_not_cancellable", rejection.to_string()))),
        }
    }
}
