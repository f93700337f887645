//! Changing a reservation by an action: the key, the rule, and the effect, in one transaction.

use amends_primitives::{ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};

use super::{
    reservations::{self, Move},
    steps, stock,
};
use crate::{
    domain::{Decision, Event, Rejection, Reservation, State, evolve},
    ports::{ActionKey, Answer, Refusal},
};

/// An action on a reservation.
pub(super) struct Change<'a> {
    pub(super) key: &'a ActionKey,
    pub(super) reservation: ReservationId,
    pub(super) now: Timestamp,
    /// What happens to it.
    pub(super) event: Event,
    /// Where that leads, and from where. None: the rules alone can say whether it may.
    pub(super) usual: Option<Move>,
    /// Where it leads to when it is done.
    pub(super) done: State,
    /// The answer when the key was compensated or closed.
    pub(super) late: Refusal,
}

impl Change<'_> {
    /// Answers as the first time, or decides and writes.
    ///
    /// The key is claimed for a success before the reservation is looked at: nearly always it is one, and then nothing has to be read. Two
    /// twins wait for each other at the key, which comes before the reservation here as everywhere.
    pub(super) async fn run_in_tx(
        self,
        tx: &mut Tx,
        dialect: Dialect,
        decide: impl FnOnce(&Reservation) -> Decision + Send,
    ) -> Result<Answer<Reservation>, SqlError> {
        let Self { key, reservation, now, event, usual, done, late } = self;
        if let Some(answer) = steps::claim_for(tx, dialect, key, now, Ok(reservation), done, late).await? {
            return Ok(answer);
        }
        if let Some(usual) = usual
            && let Some(moved) = reservations::move_if(tx, reservation, usual, now).await?
        {
            let (changed, by) = evolve(moved, event);
            stock::apply(tx, dialect, &changed.lines, by, now).await?;
            return Ok(Ok(changed));
        }
        let refused = match reservations::lock(tx, dialect, reservation).await? {
            None => Rejection::ReservationNotFound { reservation },
            Some(found) => match decide(&found) {
                Decision::Already => return Ok(Ok(found)),
                Decision::Now(event) => return Ok(Ok(write(tx, dialect, found, event, now).await?)),
                Decision::ExpiredNow(rejection) => {
                    write(tx, dialect, found, Event::Expired, now).await?;
                    rejection
                }
                Decision::Refused(rejection) => rejection,
            },
        };
        steps::refuse_after_all(tx, dialect, key, now, &refused).await?;
        Ok(Err(refused.into()))
    }
}

async fn write(
    tx: &mut Tx,
    dialect: Dialect,
    found: Reservation,
    event: Event,
    now: Timestamp,
) -> Result<Reservation, SqlError> {
    let (changed, moved) = evolve(found, event);
    reservations::set_state(tx, changed.id, changed.state, now).await?;
    stock::apply(tx, dialect, &changed.lines, moved, now).await?;
    Ok(changed)
}
