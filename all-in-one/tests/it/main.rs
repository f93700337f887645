//! The real program in a process of its own: what it does when sinks and signals do not do as usual.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;
mod program;
mod signals;
mod sinks;
