//! The gateway over real sockets on loopback: what callers see, and what services behind it see.
#![allow(clippy::unwrap_used, clippy::allow_attributes)]

mod auth;
mod bodies;
mod forgers;
mod forms;
mod grpc;
mod hygiene;
mod lifecycle;
mod limits;
mod overload;
mod routing;
mod shares;
mod streams;
mod support;
mod upstream;
