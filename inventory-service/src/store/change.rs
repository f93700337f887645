//! Changing a reservation by an action: the key, the rule, and the effect, in one transaction.

use amends_primitives::{ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};

use super::{
    reservations::{self, Move},
    steps, stock,
};
use crate::{
    domain::{Decision, Event, Rejection, Reservation, evolve},
    ports::{ActionKey, Answer, Refusal},
};

/// An action on a reservation.
pub(super) struct Change<'a> {
    pub(super) key: &'a ActionKey,
    pub(super) reservation: ReservationId,
    pub(super) now: Timestamp,
    /// Where it leads to when it is done, and from where.
    pub(super) usual: Move,
    /// The answer when the key was compensated or closed.
    pub(super) late: Refusal,
}

impl Change<'_> {
    /// Answers as the first time, or decides and writes.
    ///
    /// The key is claimed for a success, and the reservation moved, before it is looked at: nearly always that is right, and what has to be
    /// known comes back with the move. Two twins wait for each other at the key, which comes before the reservation here as everywhere.
    pub(super) async fn run_in_tx(
        self,
        tx: &mut Tx,
        dialect: Dialect,
        decide: impl FnOnce(&Reservation) -> Decision + Send,
    ) -> Result<Answer<Reservation>, SqlError> {
        let Self { key, reservation, now, usual, late } = self;
        if let Some(answer) = steps::claim_for(tx, dialect, key, now, Ok(reservation), usual.to, late).await? {
            return Ok(answer);
        }
        let moved = reservations::move_if(tx, reservation, usual, now).await?;
        let is_moved = moved.is_some();
        let found = match moved {
            Some(moved) => Some(Reservation { state: usual.from, ..moved }),
            None => reservations::lock(tx, dialect, reservation).await?,
        };
        let Some(found) = found else {
            return refuse(tx, dialect, key, now, Rejection::ReservationNotFound { reservation }).await;
        };
        let (event, refused) = match decide(&found) {
            Decision::Now(event) => (event, None),
            Decision::ExpiredNow(rejection) => (Event::Expired, Some(rejection)),
            Decision::Already | Decision::Refused(_) if is_moved => {
                return Err(SqlError::Unexpected { what: "a reservation was moved against the rules" });
            }
            Decision::Already => return Ok(Ok(found)),
            Decision::Refused(rejection) => return refuse(tx, dialect, key, now, rejection).await,
        };
        let (changed, by) = evolve(found, event);
        if !is_moved || changed.state != usual.to {
            reservations::set_state(tx, changed.id, changed.state, now).await?;
        }
        stock::apply(tx, dialect, &changed.lines, by, now).await?;
        match refused {
            Some(rejection) => refuse(tx, dialect, key, now, rejection).await,
            None => Ok(Ok(changed)),
        }
    }
}

/// Keeps a refusal under a key that was claimed for a success.
async fn refuse(
    tx: &mut Tx,
    dialect: Dialect,
    key: &ActionKey,
    now: Timestamp,
    rejection: Rejection,
) -> Result<Answer<Reservation>, SqlError> {
    steps::refuse_after_all(tx, dialect, key, now, &rejection).await?;
    Ok(Err(rejection.into()))
}
