//! The rules of the token service, as functions of what is stored, what is asked and `now`.
//!
//! Must not know: stores, transports, cryptography, the clock.

pub(crate) mod key_schedule;
pub(crate) mod network;
pub(crate) mod principal;
pub(crate) mod refresh;
pub(crate) mod scope;
pub(crate) mod throttle;
