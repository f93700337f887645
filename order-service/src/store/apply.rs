//! What sagas change in our own tables, applied in the journal's transaction.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::{ApplyLocal, LocalOutcome, Refusal};

use super::{change_in_tx, settle_in_tx};
use crate::{domain::Applied, metrics::Meters, ports::OrderChange};

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
        if let Some(placed) = local.placed()
            && let Some(changed) = settle_in_tx(tx, order, placed, &command, now, give_key_back).await?
        {
            self.meters.changed(order, &changed, now);
            return Ok(LocalOutcome::Applied);
        }
        match change_in_tx(self.dialect, tx, order, &command, now, give_key_back).await? {
            Ok(Applied::Now(changed)) => {
                self.meters.changed(order, &changed, now);
                Ok(LocalOutcome::Applied)
            }
            Ok(Applied::Already) => Ok(LocalOutcome::Applied),
            Err(rejection) => Ok(LocalOutcome::Refused(Refusal::new("order_not_cancellable", rejection.to_string()))),
        }
    }
}
