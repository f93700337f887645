//! Releasing: the compensation of reserving.

use amends_primitives::{StepKey, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant::{Barrier, BeginCompensation};

use super::{
    Work,
    reservations::{self, Move},
    steps, stock,
};
use crate::{
    domain::{Command, Decision, Event, Rejection, State, decide, evolve},
    ports::Released,
};

pub(super) struct Release {
    pub(super) key: StepKey,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Release {
    type Output = Result<Released, Rejection>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let begun = Barrier::new(dialect).begin_compensation(tx, &self.key, self.now).await;
        let (answer, released) = match begun.map_err(steps::sql_error)? {
            BeginCompensation::NeverSeen | BeginCompensation::Already(None) => return Ok(Ok(Released::NothingToUndo)),
            BeginCompensation::WasDone(answer) => (answer, Released::Undone),
            BeginCompensation::Already(Some(answer)) => (answer, Released::AlreadyUndone),
        };
        let id = steps::reservation_of(answer)?;
        let usual = Move { from: State::Held, to: State::Released, in_time: false };
        if let Some(moved) = reservations::move_if(tx, id, usual, self.now).await? {
            let (changed, by) = evolve(moved, Event::Released);
            stock::apply(tx, dialect, &changed.lines, by, self.now).await?;
            return Ok(Ok(released));
        }
        let reservation =
            reservations::lock(tx, dialect, id).await?.ok_or(SqlError::Corrupt { what: "step answer" })?;
        match decide(&reservation, Command::Release, self.now) {
            Decision::Now(event) => {
                let (changed, moved) = evolve(reservation, event);
                reservations::set_state(tx, id, changed.state, self.now).await?;
                stock::apply(tx, dialect, &changed.lines, moved, self.now).await?;
                Ok(Ok(released))
            }
            Decision::Already => Ok(Ok(released)),
            Decision::Refused(rejection) | Decision::ExpiredNow(rejection) => Ok(Err(rejection)),
        }
    }
}
