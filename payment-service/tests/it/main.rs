//! The payment service's tests on real stores, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod authorizations;
mod authorizations_grpc;
mod bench;
mod conformance;
mod crash;
mod faults;
mod grpc;
mod mongo;
mod service;
mod sqlite;
mod support;
mod webhooks;
