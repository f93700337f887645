//! Participant: catalogue prices, stock and reservations that expire.
//!
//! Must not know: orders beyond their id, payments, sagas beyond a step key.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod app;
pub mod audit;
mod build;
pub mod config;
pub mod domain;
pub mod faults;
pub mod grpc;
pub mod metrics;
pub mod ports;
pub mod store;

pub use build::{Addresses, App, SERVICE, build, build_with, schemas};
pub use config::Config;
