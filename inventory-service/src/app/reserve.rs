//! Reserving: for how long, and when the sweeper must look.

use std::time::Duration;

use amends_primitives::{OrderId, ReservationId};

use super::Inventory;
use crate::{
    domain::{Line, Reservation},
    faults,
    ports::{ActionKey, Answer, Reserve, StoreError},
};

/// What a reservation is asked for.
#[derive(Debug)]
pub struct ReserveRequest {
    /// The step's key.
    pub key: ActionKey,
    /// Whose goods.
    pub order: OrderId,
    /// At least one; each SKU once.
    pub lines: Vec<Line>,
    /// How long; `None` takes the default. Cut to the maximum.
    pub hold_for: Option<Duration>,
}

impl Inventory {
    /// Sets goods aside.
    pub(crate) async fn reserve(&self, request: ReserveRequest) -> Result<Answer<Reservation>, StoreError> {
        let now = self.now();
        let hold_max = Duration::from_secs(self.holds.max_secs);
        let hold_for = request.hold_for.unwrap_or(Duration::from_secs(self.holds.default_secs)).min(hold_max);
        let expires_at = now + hold_for;
        let ReserveRequest { key, order, lines, .. } = request;
        let id = ReservationId::new(self.ids.next_id());
        let refuse_skus = faults::skus(&self.faults.current().refuse);
        let answer = self.store.reserve(Reserve { key, id, order, lines, now, expires_at, refuse_skus }).await?;
        self.metrics.step("reserve_stock", &answer);
        if answer.is_ok() {
            let now = self.steady_now();
            self.wake_up.at(now + hold_for, now);
        }
        Ok(answer)
    }
}
