//! What makes a service of handlers: servers, shutdown, readiness, the admin listener, faults on purpose, and what `main` does.
//!
//! Must not know: any domain, any table, any of our protobuf packages; who may call (`auth`), and how calls to others are bounded
//! (`resilience`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod admin;
#[cfg(feature = "database")]
mod counted;
#[cfg(feature = "database")]
pub mod database;
pub mod faults;
pub mod grpc;
pub mod http;
#[path = "service_main.rs"] // Cargo takes a file `src/main.rs` for a program
pub mod main;
pub mod observe;
pub mod readiness;
mod runtime;
pub mod shutdown;
mod signals;

pub use runtime::Runtime;
