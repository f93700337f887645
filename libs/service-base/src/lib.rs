//! What every service speaks: requests' context, problems and their codes, configuration, metrics, clients. Below what verifies tokens
//! (`auth`), what bounds calls (`resilience`) and what serves (`service-kit`).
//!
//! Must not know: any domain, any store, any of our protobuf packages, any server.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod client;
pub mod code;
pub mod config;
pub mod context;
pub mod descriptors;
pub mod files;
pub mod kv;
pub mod latest;
pub mod metrics;
pub mod peer;
pub mod problem;
pub mod sampled;
pub mod status;
pub mod wire;
