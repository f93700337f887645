//! Tests of the inventory service against real stores: SQLite always, PostgreSQL where `AMENDS_TEST_POSTGRES_URL` names a server.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot be unwrapped is a failure")]

mod bench;
mod conformance;
mod faults;
mod grpc;
mod migration;
mod model;
mod service;
