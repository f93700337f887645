//! Releasing: the compensation of reserving.

use amends_primitives::Timestamp;
use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;
use saga_engine::participant::{ActionKey, Barrier, BeginCompensation};

use super::{Work, reservations, steps, stock};
use crate::domain::{Rejection, Transition};

/// Undoes a reservation, by the key that made it.
#[derive(Debug)]
pub struct Release {
    /// The reserving action's.
    pub key: ActionKey,
    /// When.
    pub now: Timestamp,
}

/// What there was to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The goods were held; now they are not.
    Undone,
    /// An earlier call had done it.
    AlreadyUndone,
    /// Nothing was ever held under this key, and nothing ever will be.
    NothingToUndo,
}

#[async_trait]
impl Work for Release {
    /// The only refusal is that of goods already sold: only a saga that went past its pivot can get there, and it must not.
    type Output = Result<Released, Rejection>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let begun = Barrier::new(dialect).begin_compensation(tx, &self.key, self.now).await;
        let (answer, released) = match begun.map_err(steps::sql_error)? {
            BeginCompensation::NeverSeen | BeginCompensation::Already(None) => return Ok(Ok(Released::NothingToUndo)),
            BeginCompensation::WasDone(answer) => (answer, Released::Undone),
            BeginCompensation::Already(Some(answer)) => (answer, Released::AlreadyUndone),
        };
        let id = steps::reservation_of(answer)?;
        let reservation =
            reservations::lock(tx, dialect, id).await?.ok_or(SqlError::Corrupt { what: "step answer" })?;
        match reservation.release() {
            Transition::Now(state, moved) => {
                reservations::set_state(tx, id, state, self.now).await?;
                stock::apply(tx, dialect, &reservation.lines, moved, self.now).await?;
                Ok(Ok(released))
            }
            Transition::Already => Ok(Ok(released)),
            Transition::Refused(rejection) | Transition::ExpiredNow(rejection) => Ok(Err(rejection)),
        }
    }
}
