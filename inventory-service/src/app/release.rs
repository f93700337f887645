//! Releasing: the compensation of reserving.

use amends_primitives::StepKey;

use super::Inventory;
use crate::{
    domain::Rejection,
    ports::{Released, StoreError},
};

impl Inventory {
    /// Undoes a reservation.
    pub(crate) async fn release(&self, key: StepKey) -> Result<Result<Released, Rejection>, StoreError> {
        let released = self.store.release(key, self.now()).await?;
        self.metrics.released(&released);
        Ok(released)
    }
}
