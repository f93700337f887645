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
        // Every action on a reservation locks it before it claims its key, so that two twins wait for each other here.
        let Some(found) = reservations::lock(tx, dialect, reservation).await? else {
            let missing = Rejection::ReservationNotFound { reservation };
            let instead = steps::claim_for(tx, dialect, key, now, Err(&missing), done, late).await?;
            return Ok(instead.unwrap_or_else(|| Err(missing.into())));
        };
        let decision = decide(&found);
        let decided = match &decision {
            Decision::Now(_) | Decision::Already => Ok(reservation),
            Decision::ExpiredNow(rejection) | Decision::Refused(rejection) => Err(rejection),
        };
        if let Some(answer) = steps::claim_for(tx, dialect, key, now, decided, done, late).await? {
            return Ok(answer);
        }
        let (event, refused) = match decision {
            Decision::Now(event) => (event, None),
            Decision::ExpiredNow(rejection) => (Event::Expired, Some(rejection)),
            Decision::Already => return Ok(Ok(found)),
            Decision::Refused(rejection) => return Ok(Err(rejection.into())),
        };
        let (changed, moved) = evolve(found, event);
        reservations::set_state(tx, changed.id, changed.state, now).await?;
        stock::apply(tx, dialect, &changed.lines, moved, now).await?;
        Ok(refused.map_or(Ok(changed), |rejection| Err(rejection.into())))
    }
}
