//! Participant: catalogue prices, stock and reservations that expire.
