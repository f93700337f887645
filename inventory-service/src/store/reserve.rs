//! Reserving: all lines or none.
//!
//! The first attempt decides on what it reads and checks again when it writes, so that those who are refused wait for nobody and
//! those who are served hold an item's row for the commit only. An attempt that lost against another buyer is made again with the
//! rows locked from the start: it cannot lose twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use amends_primitives::{OrderId, ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Answer, Refusal, StepKey, Work, catalogue, reservations, steps, stock};
use crate::domain::{Line, Rejection, Reservation, Sku, State, decide_reserve};

/// Sets the goods of an order aside.
#[derive(Debug)]
pub struct Reserve {
    /// The action's.
    pub key: StepKey,
    /// The reservation's id, should this be the first time the key is seen.
    pub id: ReservationId,
    /// Whose goods.
    pub order: OrderId,
    /// At least one; each SKU once.
    pub lines: Vec<Line>,
    /// When.
    pub now: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// Of these there is nothing to be had: an injected fault.
    pub refuse_skus: Arc<[Sku]>,
    /// Whether an attempt has lost against another buyer.
    pub lost: AtomicBool,
}

#[async_trait]
impl Work for Reserve {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        if let Some(answer) =
            steps::claim(tx, dialect, &self.key, self.now, State::Held, Refusal::StepCompensated).await?
        {
            return Ok(answer);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let items = catalogue::read(tx, dialect, self.lines.iter().map(|line| &line.sku), lost).await?;
        let refused = self.lines.iter().find(|line| self.refuse_skus.contains(&line.sku));
        let decided = match refused {
            Some(line) => Err(Rejection::InsufficientStock {
                sku: line.sku.clone(),
                requested: line.quantity.units(),
                available: 0,
            }),
            None => decide_reserve(&self.lines, &items),
        };
        let decided = decided.map(|lines| Reservation {
            id: self.id,
            order: self.order,
            state: State::Held,
            lines,
            expires_at: self.expires_at,
            created_at: self.now,
        });
        if let Ok(reservation) = &decided {
            reservations::insert(tx, reservation).await?;
        }
        let answer = steps::answer(tx, dialect, &self.key, self.now, decided).await?;
        if let Ok(reservation) = &answer
            && !stock::reserve(tx, dialect, &reservation.lines, self.now).await?
        {
            self.lost.store(true, Ordering::Relaxed);
            return Err(SqlError::Contended(sqlx::Error::RowNotFound));
        }
        Ok(answer)
    }
}
