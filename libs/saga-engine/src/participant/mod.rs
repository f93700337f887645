//! The barrier for participants of a saga: it makes an action and its compensation idempotent under one step key, whatever the
//! network repeats, loses, delays or reorders.
//!
//! | arrives | key never seen | action done | action refused | compensated |
//! |---|---|---|---|---|
//! | action, same fingerprint | perform it, once | same answer | same refusal | refused |
//! | action, other fingerprint | – | mismatch | mismatch | refused |
//! | compensation | tombstone, nothing to undo | undo it, once | tombstone, nothing to undo | already |
//! | close (pivot only) | tombstone, closed | it was done | tombstone, closed | closed |
//!
//! [`decide`] is the table as pure functions, for any store that can change one record atomically. [`Barrier`] applies it in an SQL
//! transaction of the caller, together with the participant's own rows. `testkit::barrier` puts any participant through the table.
//!
//! Records are kept until [`Barrier::purge`] is called, which says how old they have to be.
//!
//! Must not know: what is performed or undone, nor who calls.

pub mod decide;
mod sql;

#[cfg(test)]
pub(crate) use sql::oldest;
pub use sql::{Barrier, BarrierError, BeginAction, BeginClose, BeginCompensation, SCHEMA};
