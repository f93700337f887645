//! Contracts between those who call and those who are called, as Pact files under `pacts/`. A consumer test writes what it relies
//! on and fails when the committed file says something else (`AMENDS_GEN=write` updates it); a provider test replays the committed
//! file against the real program.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod files;
mod order_to_payment;
mod payment_double;
mod payment_provider;
mod proto_json;
mod storefront_to_orders;
mod through_plugin;
mod verify;
