//! A simulated acquirer, the party that moves the money, for development and tests.
//!
//! `domain` holds its rules, `store` what it remembers, `acquirer` what it does; `http` makes a process of it, which is how network
//! faults between a payment service and its processor become real. The payment service's in-process simulation is the same `Acquirer`
//! on the same `SqlLedger`.
//!
//! Must not know: our payments, sagas, orders. To it we are a merchant with idempotency keys.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod acquirer;
mod build;
pub mod config;
pub mod domain;
mod faults;
mod http;
pub mod ledger;
pub mod store;

pub use acquirer::{Acquirer, Reply};
pub use build::{Addresses, App, SERVICE, build};
pub use config::Config;
