//! Participant: catalogue prices, stock and reservations that expire.
//!
//! Must not know: orders beyond their id, payments, sagas beyond a step key.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod domain;
pub mod store;
