//! Tests of the inventory service against real stores: SQLite always, PostgreSQL where `AMENDS_TEST_POSTGRES_URL` names a server.

mod bench;
mod conformance;
mod grpc;
mod service;
