//! Participant: charges and refunds.
//!
//! `domain` holds the rules, `app` the use cases, `store` and `processor` the two ports and what is behind them, `events` says
//! what others are told of payments, `grpc` is the interface. Must not know: orders beyond their ids, sagas beyond their step keys.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod app;
pub mod audit;
mod build;
pub mod config;
pub mod domain;
pub mod events;
pub mod faults;
pub mod grpc;
mod ledger;
pub mod metrics;
mod observed;
pub mod processor;
pub mod store;

pub use build::{Addresses, App, OpenedStore, build, build_with, erase, migrate, schemas};
pub use config::{Config, SERVICE};
pub use observed::{ObservedProcessor, ObservedStore};
pub use store::StoreError;
