//! Putting sold goods back on sale.

use amends_primitives::{ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Answer, Refusal, StepKey, Work, reservations, steps, stock};
use crate::domain::{Rejection, Reservation, State, Transition};

/// Takes the goods of a committed reservation back, once.
#[derive(Debug)]
pub struct Restock {
    /// The action's.
    pub key: StepKey,
    /// Which.
    pub reservation: ReservationId,
    /// When.
    pub now: Timestamp,
}

#[async_trait]
impl Work for Restock {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        if let Some(answer) =
            steps::claim(tx, dialect, &self.key, self.now, State::Restocked, Refusal::StepCompensated).await?
        {
            return Ok(answer);
        }
        let decided = match reservations::lock(tx, dialect, self.reservation).await? {
            None => Err(Rejection::ReservationNotFound { reservation: self.reservation }),
            Some(reservation) => match reservation.restock() {
                Transition::Now(state, moved) => {
                    stock::apply(tx, dialect, &reservation.lines, moved, self.now).await?;
                    reservations::set_state(tx, reservation.id, state, self.now).await?;
                    Ok(Reservation { state, ..reservation })
                }
                Transition::Already => Ok(reservation),
                Transition::Refused(rejection) | Transition::ExpiredNow(rejection) => Err(rejection),
            },
        };
        steps::answer(tx, dialect, &self.key, self.now, decided).await
    }
}
