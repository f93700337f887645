//! Putting sold goods back on sale.

use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Work, reservations, steps, stock};
use crate::{
    domain::{Rejection, Reservation, State, Transition},
    ports::{Answer, Refusal, Restock},
};

#[async_trait]
impl Work for Restock {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        if let Some(answer) =
            steps::claim(tx, dialect, &self.key, self.now, State::Restocked, Refusal::StepCompensated).await?
        {
            return Ok(answer);
        }
        let Some(reservation) = reservations::lock(tx, dialect, self.reservation).await? else {
            let unknown = Rejection::ReservationNotFound { reservation: self.reservation };
            return steps::answer(tx, dialect, &self.key, self.now, Err(unknown)).await;
        };
        let (state, moved) = match reservation.restock() {
            Transition::Now(state, moved) => (state, moved),
            Transition::Already => return steps::answer(tx, dialect, &self.key, self.now, Ok(reservation)).await,
            Transition::Refused(rejection) | Transition::ExpiredNow(rejection) => {
                return steps::answer(tx, dialect, &self.key, self.now, Err(rejection)).await;
            }
        };
        reservations::set_state(tx, reservation.id, state, self.now).await?;
        let lines = reservation.lines.clone();
        let restocked = Reservation { state, ..reservation };
        let answer = steps::answer(tx, dialect, &self.key, self.now, Ok(restocked)).await?;
        stock::apply(tx, dialect, &lines, moved, self.now).await?;
        Ok(answer)
    }
}
