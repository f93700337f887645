//! The Security Token Service: users, clients, keys, tokens and revocation.
//!
//! `http` takes requests and speaks OAuth, `app` holds the use cases, `domain` the rules, `crypto` the cryptography; `store` and
//! `redis_sharing` are behind `ports`. The choices are explained in `docs/adr/0005-token-service.md`.
//!
//! Must not know: orders, payments, inventory.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod app;
mod build;
pub mod config;
mod crypto;
mod domain;
mod http;
mod metrics;
mod ports;
mod redis_sharing;
mod store;
#[cfg(test)]
mod tests;

pub use build::{Addresses, App, SERVICE, build, probe_keys};
pub use config::Config;
pub use store::SCHEMA;
