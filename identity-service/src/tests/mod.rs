//! Tests of the service as a whole: the store on every backend, the endpoints on the real router with a clock moved by hand.

mod clients;
mod failures;
mod keys;
mod login;
mod secrecy;
mod serving;
mod sessions;
mod sharing;
mod store;
mod support;
