//! The payment service's tests on real stores, as one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod acquirer;
mod audit;
mod authorizations;
mod authorizations_grpc;
mod bank;
mod barrier;
mod bench;
mod conformance;
mod crash;
mod faults;
mod former;
mod grpc;
mod mongo;
mod processor;
mod service;
mod sqlite;
mod statement;
mod support;
mod webhooks;
