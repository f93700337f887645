//! Reading reservations.

use amends_primitives::{OrderId, ReservationId};

use super::Inventory;
use crate::{
    domain::Reservation,
    ports::{ReservationPage, StoreError},
};

impl Inventory {
    /// One reservation.
    pub(crate) async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
        self.store.reservation(id).await
    }

    /// A page of reservations.
    pub(crate) async fn reservations(
        &self,
        order: Option<OrderId>,
        after: Option<ReservationId>,
        limit: usize,
    ) -> Result<ReservationPage, StoreError> {
        self.store.reservations(order, after, limit).await
    }
}
