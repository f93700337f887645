//! The life of a reservation.
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

use amends_primitives::{Money, OrderId, ReservationId, Timestamp};

use super::{Quantity, Rejection, Sku, State};

/// Goods set aside for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its own id.
    pub id: ReservationId,
    /// Whose goods these are.
    pub order: OrderId,
    /// Where it stands.
    pub state: State,
    /// In the order they were asked for.
    pub lines: Vec<PricedLine>,
    /// From this moment on it can no longer be committed.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One article of a reservation, at the price of the moment it was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedLine {
    /// The article.
    pub sku: Sku,
    /// Units.
    pub quantity: Quantity,
    /// Per unit.
    pub unit_price: Money,
}

/// What a change of state does to the stock of every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockMove {
    /// Held units can be reserved again: `reserved` falls.
    Unreserve,
    /// Held units leave the warehouse: `reserved` and `on_hand` fall.
    Sell,
    /// Sold units come back: `on_hand` rises.
    PutBack,
}

/// What is to be written. The effect on the stock is part of it, so that no caller can change one without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Transition {
    /// The reservation takes this state and its lines' stock moves.
    Now(State, StockMove),
    /// It is where the command wants it: nothing is written.
    Already,
    /// Nothing is written, and the caller hears why.
    Refused(Rejection),
    /// It expires here and now, and the caller hears why.
    ExpiredNow(Rejection),
}

impl Reservation {
    /// Whether its time has passed.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Gives the goods up. An expired reservation holds nothing any more, so it counts as released.
    pub fn release(&self) -> Transition {
        match self.state {
            // Overdue makes no difference: the goods are given back either way.
            State::Held => Transition::Now(State::Released, StockMove::Unreserve),
            State::Released | State::Expired => Transition::Already,
            State::Committed | State::Restocked => Transition::Refused(self.not_allowed("release")),
        }
    }

    /// Sells the goods. The last check of the time is here, not in the sweeper: a sweeper that is late must not let an
    /// overdue reservation through, or "expired" would depend on who is faster.
    pub fn commit(&self, now: Timestamp) -> Transition {
        match self.state {
            State::Held if self.is_overdue(now) => Transition::ExpiredNow(self.expired()),
            State::Held => Transition::Now(State::Committed, StockMove::Sell),
            State::Expired => Transition::Refused(self.expired()),
            State::Released => Transition::Refused(Rejection::ReservationReleased { reservation: self.id }),
            // Under another step key, that is: a repeat of the same one never gets here. Two sagas must not both own the goods.
            State::Committed | State::Restocked => Transition::Refused(self.not_allowed("commit")),
        }
    }

    /// Lets the goods go if its time has passed.
    pub fn expire(&self, now: Timestamp) -> Transition {
        match self.state {
            State::Held if self.is_overdue(now) => Transition::Now(State::Expired, StockMove::Unreserve),
            _ => Transition::Already,
        }
    }

    /// Puts sold goods back on sale, once.
    pub fn restock(&self) -> Transition {
        match self.state {
            State::Committed => Transition::Now(State::Restocked, StockMove::PutBack),
            State::Restocked => Transition::Already,
            State::Released => Transition::Refused(Rejection::ReservationReleased { reservation: self.id }),
            State::Expired => Transition::Refused(self.expired()),
            State::Held => Transition::Refused(self.not_allowed("restock")),
        }
    }

    /// The refusal of a request that comes too late.
    pub const fn expired(&self) -> Rejection {
        Rejection::ReservationExpired { reservation: self.id }
    }

    fn not_allowed(&self, command: &'static str) -> Rejection {
        Rejection::NotAllowed { reservation: self.id, state: self.state, command: command.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    const MADE: Timestamp = Timestamp::from_millis(1_000);
    const DUE: Timestamp = Timestamp::from_millis(2_000);

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

    /// One cell of the table in the module's documentation.
    fn cell(transition: &Transition) -> String {
        match transition {
            Transition::Now(state, moved) => format!("{} {moved:?}", state.name()),
            Transition::Already => "already".to_owned(),
            Transition::Refused(why) => format!("refused: {why}"),
            Transition::ExpiredNow(why) => format!("expires, refused: {why}"),
        }
        .replace("reservation 00000000-0000-0000-0000-000000000001 ", "")
        .replace(" reservation 00000000-0000-0000-0000-000000000001", "")
    }

    fn row(state: State, now: Timestamp) -> [String; 4] {
        let held = reservation(state);
        [held.release(), held.commit(now), held.expire(now), held.restock()].each_ref().map(cell)
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
            assert_eq!(row(state, now), expected, "{state:?} at {now}");
        }
    }

    #[test]
    fn the_last_microsecond_still_counts() {
        let held = reservation(State::Held);
        let just_in_time = DUE - Duration::from_micros(1);
        assert_eq!(held.commit(just_in_time), Transition::Now(State::Committed, StockMove::Sell));
        assert_eq!(held.commit(DUE), Transition::ExpiredNow(held.expired()));
    }

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("HELD"), None);
    }
}
