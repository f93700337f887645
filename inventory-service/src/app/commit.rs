//! Committing: the pivot of place-order.

use amends_primitives::ReservationId;

use super::Inventory;
use crate::{
    domain::Reservation,
    faults,
    ports::{ActionKey, Answer, Commit, StoreError},
};

impl Inventory {
    /// Sells the goods of a reservation.
    pub(crate) async fn commit(
        &self,
        key: ActionKey,
        reservation: ReservationId,
    ) -> Result<Answer<Reservation>, StoreError> {
        let expire_skus = faults::skus(&self.faults.current().refuse_commit_skus);
        let answer = self.store.commit(Commit { key, reservation, now: self.steady_now(), expire_skus }).await?;
        self.metrics.step("commit_stock", &answer);
        Ok(answer)
    }
}
