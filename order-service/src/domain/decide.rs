//! The rules: what a command does to an order in a state. Pure.

use amends_primitives::Timestamp;

use super::{Command, Event, Line, Rejection, State};

/// What a command came to. A redelivered command is `Already`: not an error, and not a second event.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied<T> {
    /// It happens now.
    Now(T),
    /// It had happened before.
    Already,
}

/// Decides.
///
/// # Errors
/// When the command breaks a rule or does not fit the state.
pub fn decide(state: &State, command: &Command, now: Timestamp) -> Result<Applied<Event>, Rejection> {
    use Applied::{Already, Now};
    use Command as C;
    use State as S;
    match (state, command) {
        (S::New, C::Place { lines }) => {
            let total = Line::total(lines)?;
            if !total.is_positive() {
                return Err(Rejection::NothingToPay);
            }
            Ok(Now(Event::Placed { lines: lines.clone(), total }))
        }
        // Runs after the pivot, so it may not refuse what is paid for and committed.
        (S::Pending, C::Confirm { receipt }) => Ok(Now(Event::Confirmed { receipt: *receipt, at: now })),
        (S::Pending, C::Fail { failure, refunded }) => {
            Ok(Now(Event::Failed { failure: failure.clone(), refunded: *refunded, at: now }))
        }
        (S::Confirmed { .. }, C::MarkCancelling { by }) => Ok(Now(Event::CancellationBegun { by: *by })),
        (S::Cancelling { by: mine, .. }, C::MarkCancelled { by }) if mine == by => {
            Ok(Now(Event::Cancelled { by: *by }))
        }
        (S::Confirmed { .. }, C::Ship) => Ok(Now(Event::Shipped)),

        // The same wish again.
        (S::Confirmed { receipt: held, .. }, C::Confirm { receipt }) if held == receipt => Ok(Already),
        (S::Failed { failure: known, .. }, C::Fail { failure, .. }) if known == failure => Ok(Already),
        (S::Cancelling { by: mine, .. } | S::Cancelled { by: mine, .. }, C::MarkCancelling { by }) if mine == by => {
            Ok(Already)
        }
        (S::Cancelled { by: mine, .. }, C::MarkCancelled { by }) if mine == by => Ok(Already),
        (S::Shipped { .. }, C::Ship) => Ok(Already),

        (state, command) => Err(Rejection::NotAllowed { state: state.name(), command: command.name() }),
    }
}
