//! Committing: the pivot of place-order.

use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Work, reservations, steps, stock};
use crate::{
    domain::{Rejection, Reservation, State, StockMove, Transition},
    ports::{Answer, Commit, Refusal},
};

impl Commit {
    fn decide(&self, reservation: &Reservation) -> Transition {
        let by_fault = reservation.lines.iter().any(|line| self.expire_skus.contains(&line.sku));
        // A reservation expires at `expires_at`, so at that time the rules say what they would have said then.
        reservation.commit(if by_fault { self.now.max(reservation.expires_at) } else { self.now })
    }
}

#[async_trait]
impl Work for Commit {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        if let Some(answer) =
            steps::claim(tx, dialect, &self.key, self.now, State::Committed, Refusal::CommitClosed).await?
        {
            return Ok(answer);
        }
        let Some(reservation) = reservations::lock(tx, dialect, self.reservation).await? else {
            let unknown = Rejection::ReservationNotFound { reservation: self.reservation };
            return steps::answer(tx, dialect, &self.key, self.now, Err(unknown)).await;
        };
        let (state, moved, decided) = match self.decide(&reservation) {
            Transition::Now(state, moved) => (state, moved, Ok(Reservation { state, ..reservation.clone() })),
            Transition::ExpiredNow(rejection) => (State::Expired, StockMove::Unreserve, Err(rejection)),
            Transition::Already => return steps::answer(tx, dialect, &self.key, self.now, Ok(reservation)).await,
            Transition::Refused(rejection) => {
                return steps::answer(tx, dialect, &self.key, self.now, Err(rejection)).await;
            }
        };
        reservations::set_state(tx, reservation.id, state, self.now).await?;
        let answer = steps::answer(tx, dialect, &self.key, self.now, decided).await?;
        stock::apply(tx, dialect, &reservation.lines, moved, self.now).await?;
        Ok(answer)
    }
}
