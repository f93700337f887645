//! The acquirer's rules, pure: what it answers to each request, and what that leaves on the line of its key.
//!
//! | payment method          | what happens                                                                     |
//! |-------------------------|----------------------------------------------------------------------------------|
//! | `pm_ok`                 | captured                                                                         |
//! | `pm_declined`           | declined                                                                         |
//! | `pm_insufficient_funds` | declined for insufficient funds                                                  |
//! | `pm_timeout`            | captured, and the answer never comes: the worst that a timeout can hide          |
//! | `pm_flaky`              | fails without effect as many times per key as configured, then captured          |
//! | `pm_capture_refused`    | authorized; its capture is refused, as of an authorization that has expired      |
//! | `pm_capture_timeout`    | authorized; captured, and the answer never comes                                 |
//! | any other               | declined                                                                         |
//!
//! The table is of charges; an authorization holds where a charge would capture, and a capture then takes what is asked for.
//! Amounts at or above the limit are declined whatever the method.
//!
//! Must not know: where the ledger is kept, how requests travel.

mod answer;
#[cfg(test)]
mod edge_tests;
mod entry;
mod movement;
#[cfg(test)]
mod tests;
mod values;

pub use answer::{CaptureAsk, Captured, ChargeAsk, Charged, Decline, RefundAsk, Refunded, Voided};
pub use entry::{Asked, Entry, Fate, REFUNDS_PER_CHARGE_MAX};
pub use movement::{Movement, MovementKind};
pub use values::{InvalidValue, KEY_LEN_MAX, Key, METHOD_LEN_MAX, Method};

use std::time::Duration;

/// How the simulation behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Charges of this many minor units or more are declined.
    pub amount_limit_minor: i64,
    /// How long `pm_timeout` hangs.
    pub hang: Duration,
    /// How often `pm_flaky` fails, per key.
    pub flaky_failures: u32,
}
