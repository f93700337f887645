//! Plumbing that three or more services share: errors, configuration, shutdown, servers, tokens, resilience, context.
//!
//! Must not know: any domain, any store, any of our protobuf packages. What fewer than three services need stays with them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod admin;
pub mod auth;
pub mod client;
pub mod config;
pub mod context;
pub mod descriptors;
pub mod faults;
pub mod files;
pub mod grpc;
pub mod http;
pub mod kv;
#[path = "service_main.rs"] // Cargo takes a file `src/main.rs` for a program
pub mod main;
pub mod metrics;
pub mod problem;
pub mod readiness;
pub mod resilience;
mod runtime;
pub mod shutdown;
mod signals;
pub mod status;

pub use runtime::Runtime;
