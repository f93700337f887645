//! Putting sold goods back on sale.

use amends_primitives::ReservationId;

use super::Inventory;
use crate::{
    domain::Reservation,
    ports::{ActionKey, Answer, Restock, StoreError},
};

impl Inventory {
    /// Takes the goods of a committed reservation back, once.
    pub(crate) async fn restock(
        &self,
        key: ActionKey,
        reservation: ReservationId,
    ) -> Result<Answer<Reservation>, StoreError> {
        let answer = self.store.restock(Restock { key, reservation, now: self.now() }).await?;
        self.metrics.step("restock", &answer);
        Ok(answer)
    }
}
