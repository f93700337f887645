//! The rules: what a command does to a reservation. Pure.
//!
//! ```text
//!          release                      commit                      restock
//! Held ─────────────▶ Released   Held ──────────▶ Committed ─────────────────▶ Restocked
//!   └── time passes ─▶ Expired
//! ```
//!
//! | state \ command | release | commit | expire | restock |
//! |---|---|---|---|---|
//! | Held, in time | Released | Committed | not due | refused |
//! | Held, time passed | Released | Expired, refused | Expired | refused |
//! | Released | already | refused (released) | not due | refused |
//! | Expired | already | refused (expired) | not due | refused |
//! | Committed | refused | refused | not due | Restocked |
//! | Restocked | refused | refused | not due | already |

use amends_primitives::Timestamp;

use super::{Event, Rejection, Reservation, State};

/// What can be asked of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Gives the goods up. An expired reservation holds nothing any more, so it counts as released.
    Release,
    /// Sells the goods.
    Commit,
    /// Lets the goods go if the reservation's time has passed.
    Expire,
    /// Puts sold goods back on sale, once.
    Restock,
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Commit => "commit",
            Self::Expire => "expire",
            Self::Restock => "restock",
        }
    }
}

/// What a command comes to.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It happens now.
    Now(Event),
    /// The reservation is where the command wants it: nothing is written.
    Already,
    /// Nothing is written, and the caller hears why.
    Refused(Rejection),
    /// The reservation expires here and now, and the caller hears why.
    ExpiredNow(Rejection),
}

/// Decides.
pub fn decide(reservation: &Reservation, command: Command, now: Timestamp) -> Decision {
    use Command as C;
    use State as S;
    let overdue = reservation.is_overdue(now);
    match (reservation.state, command) {
        // Overdue makes no difference: the goods are given back either way.
        (S::Held, C::Release) => Decision::Now(Event::Released),
        // The last check of the time is here, not in the sweeper: a sweeper that is late must not let an overdue reservation through,
        // or "expired" would depend on which of the two is faster.
        (S::Held, C::Commit) if overdue => Decision::ExpiredNow(reservation.expired()),
        (S::Held, C::Commit) => Decision::Now(Event::Committed),
        (S::Held, C::Expire) if overdue => Decision::Now(Event::Expired),
        (S::Committed, C::Restock) => Decision::Now(Event::Restocked),

        (_, C::Expire) | (S::Released | S::Expired, C::Release) | (S::Restocked, C::Restock) => Decision::Already,

        (S::Released, C::Commit | C::Restock) => {
            Decision::Refused(Rejection::ReservationReleased { reservation: reservation.id })
        }
        (S::Expired, C::Commit | C::Restock) => Decision::Refused(reservation.expired()),
        // A second commit comes under another step key: a repeat of the same one is answered before. Two sagas must not both own the
        // goods.
        (S::Committed | S::Restocked, C::Commit | C::Release) | (S::Held, C::Restock) => {
            Decision::Refused(Rejection::NotAllowed {
                reservation: reservation.id,
                state: reservation.state,
                command: command.name().into(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use amends_primitives::{OrderId, ReservationId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::evolve;

    const MADE: Timestamp = Timestamp::from_millis(1_000);
    const DUE: Timestamp = Timestamp::from_millis(2_000);
    const COMMANDS: [Command; 4] = [Command::Release, Command::Commit, Command::Expire, Command::Restock];

    fn reservation(state: State) -> Reservation {
        Reservation {
            id: ReservationId::new(Uuid::from_u128(1)),
            order: OrderId::new(Uuid::from_u128(2)),
            state,
            lines: Vec::new(),
            expires_at: DUE,
            created_at: MADE,
        }
    }

    /// One cell of the table in the module's documentation, with what it does to the stock.
    fn cell(state: State, command: Command, now: Timestamp) -> String {
        let asked = reservation(state);
        match decide(&asked, command, now) {
            Decision::Now(event) => {
                let (changed, moved) = evolve(asked, event);
                format!("{} {moved:?}", changed.state.name())
            }
            Decision::Already => "already".to_owned(),
            Decision::Refused(why) => format!("refused: {why}"),
            Decision::ExpiredNow(why) => format!("expires, refused: {why}"),
        }
        .replace("reservation 00000000-0000-0000-0000-000000000001 ", "")
        .replace(" reservation 00000000-0000-0000-0000-000000000001", "")
    }

    #[test]
    fn every_pair_of_state_and_command() {
        let before = Timestamp::from_millis(1_999);
        let cases = [
            (
                State::Held,
                before,
                ["released Unreserve", "committed Sell", "already", "refused: cannot restock: it is held"],
            ),
            (
                State::Held,
                DUE,
                [
                    "released Unreserve",
                    "expires, refused: has expired",
                    "expired Unreserve",
                    "refused: cannot restock: it is held",
                ],
            ),
            (State::Released, DUE, ["already", "refused: has been released", "already", "refused: has been released"]),
            (State::Expired, DUE, ["already", "refused: has expired", "already", "refused: has expired"]),
            (
                State::Committed,
                DUE,
                [
                    "refused: cannot release: it is committed",
                    "refused: cannot commit: it is committed",
                    "already",
                    "restocked PutBack",
                ],
            ),
            (
                State::Restocked,
                DUE,
                [
                    "refused: cannot release: it is restocked",
                    "refused: cannot commit: it is restocked",
                    "already",
                    "already",
                ],
            ),
        ];
        for (state, now, expected) in cases {
            assert_eq!(COMMANDS.map(|command| cell(state, command, now)), expected, "{state:?} at {now}");
        }
    }

    #[test]
    fn the_last_microsecond_still_counts() {
        let held = reservation(State::Held);
        let just_in_time = DUE - Duration::from_micros(1);
        assert_eq!(decide(&held, Command::Commit, just_in_time), Decision::Now(Event::Committed));
        assert_eq!(decide(&held, Command::Commit, DUE), Decision::ExpiredNow(held.expired()));
    }
}
