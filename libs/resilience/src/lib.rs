//! Calls that may fail: bounded in time, retried within a budget, cut off while the other side fails, limited in number.
//!
//! Each policy is a [`tower::Layer`] of its own; [`stack()`] puts them around one dependency in their order, and a [`Guard`] around a
//! closure. What each does, its configuration and what is seen of it: `docs/resilience.md`. Why these are our own and retrying is driven
//! by [`tower::retry`]: `docs/adr/0004-resilience.md`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod admission;
mod breaker;
mod budget;
mod bulkhead;
mod call;
mod config;
mod deadline;
mod error;
mod guard;
mod meters;
mod observe;
mod retry;
mod shed;
mod stack;
mod state;
#[cfg(test)]
mod testing;
mod timeout;

pub use admission::{Admission, Overloaded, Turn, Waiting, Working};
pub use breaker::{BreakerFuture, BreakerLayer, BreakerService};
pub use bulkhead::{BulkheadFuture, BulkheadLayer, BulkheadService};
pub use call::{Attempt, Call, Deadline};
pub use config::{AdmissionConfig, BreakerConfig, BulkheadConfig, Resilience};
pub use deadline::{DeadlineLayer, DeadlineService};
pub use error::{Classify, GuardError, Stopped, Verdict};
pub use guard::Guard;
pub use meters::Edge;
pub use observe::{ObserveFuture, ObserveLayer, ObserveService};
pub use retry::{RetryLayer, RetryPolicy};
pub use shed::{InFlight, shed};
pub use stack::{Stack, StackLayer, Stacked, stack};
pub use state::BreakerState;
pub use timeout::{TimeoutFuture, TimeoutLayer, TimeoutService};
