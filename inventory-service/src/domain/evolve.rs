//! What an event makes of a reservation, and of the stock of its lines: both at once, so that no caller can change one without the
//! other. No rules, only bookkeeping.

use super::{Reservation, State};

/// What happened to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its goods were given up.
    Released,
    /// Its time passed.
    Expired,
    /// Its goods were sold.
    Committed,
    /// Its goods were sold and came back.
    Restocked,
}

/// What an event does to the stock of every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockMove {
    /// Held units can be reserved again: `reserved` falls.
    Unreserve,
    /// Held units leave the warehouse: `reserved` and `on_hand` fall.
    Sell,
    /// Sold units come back: `on_hand` rises.
    PutBack,
}

/// The reservation after the event.
#[must_use]
pub fn evolve(reservation: Reservation, event: Event) -> (Reservation, StockMove) {
    let (state, moved) = match event {
        Event::Released => (State::Released, StockMove::Unreserve),
        Event::Expired => (State::Expired, StockMove::Unreserve),
        Event::Committed => (State::Committed, StockMove::Sell),
        Event::Restocked => (State::Restocked, StockMove::PutBack),
    };
    (Reservation { state, ..reservation }, moved)
}
