//! Changing a reservation by an action: the key, the rule, and the effect, in one transaction.

use amends_primitives::{ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};

use super::{reservations, steps, stock};
use crate::{
    domain::{Decision, Event, Rejection, Reservation, State, evolve},
    ports::{ActionKey, Answer, Refusal},
};

/// An action on a reservation.
pub(super) struct Change<'a> {
    pub(super) key: &'a ActionKey,
    pub(super) reservation: ReservationId,
    pub(super) now: Timestamp,
    /// Where it leads to when it is done.
    pub(super) done: State,
    /// The answer when the key was compensated or closed.
    pub(super) late: Refusal,
}

impl Change<'_> {
    /// Answers as the first time, or decides and writes.
    pub(super) async fn run_in_tx(
        self,
        tx: &mut Tx,
        dialect: Dialect,
        decide: impl FnOnce(&Reservation) -> Decision + Send,
    ) -> Result<Answer<Reservation>, SqlError> {
        let Self { key, reservation, now, done, late } = self;
        if let Some(answer) = steps::claim(tx, dialect, key, now, done, late).await? {
            return Ok(answer);
        }
        let Some(found) = reservations::lock(tx, dialect, reservation).await? else {
            return steps::answer(tx, dialect, key, now, Err(Rejection::ReservationNotFound { reservation })).await;
        };
        let (event, refused) = match decide(&found) {
            Decision::Now(event) => (event, None),
            Decision::ExpiredNow(rejection) => (Event::Expired, Some(rejection)),
            Decision::Already => return steps::answer(tx, dialect, key, now, Ok(found)).await,
            Decision::Refused(rejection) => return steps::answer(tx, dialect, key, now, Err(rejection)).await,
        };
        let (changed, moved) = evolve(found, event);
        reservations::set_state(tx, changed.id, changed.state, now).await?;
        let lines = changed.lines.clone();
        let answer = steps::answer(tx, dialect, key, now, refused.map_or(Ok(changed), Err)).await?;
        stock::apply(tx, dialect, &lines, moved, now).await?;
        Ok(answer)
    }
}
