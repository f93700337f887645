//! The orchestrator: orders, and the sagas that place and cancel them.
//!
//! A request comes in over `http/` or `grpc/`, becomes a use case in `app/`, which asks the rules in `domain/` and writes through
//! `ports.rs`; `saga/` is where the domain and the engine meet; `store/` and `clients/` are behind the ports.
//!
//! Must not know: how participants keep their books, how tokens are issued, the gateway.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod app;
pub mod audit;
mod build;
pub mod clients;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod http;
mod metrics;
mod peers;
pub mod ports;
mod problem;
mod readiness;
pub mod saga;
pub mod store;
#[cfg(test)]
mod testkit;

pub use audit::{journal, shapes};
pub use build::{Addresses, App, SERVICE, build, build_with, participants, schemas};
pub use config::Config;
pub use peers::Peers;
