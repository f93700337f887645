//! A synchronous, durable saga engine.
//!
//! A *saga* is a list of *steps*; a step has an *action* and, before the *pivot*, a *compensation*; after the pivot steps are
//! *retriable* only. See the README for the whole of it.
//!
//! Must not know: orders, payments, transports, configuration files.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

pub mod audit;
mod config;
mod context;
mod definition;
mod driver;
mod engine;
mod erased;
pub mod event;
mod handle;
pub mod journal;
mod kind;
pub mod metrics;
mod operator;
mod outcome;
#[cfg(any(test, feature = "participant"))]
pub mod participant;
pub mod plan;
mod policy;
pub mod retry;
mod runner;
pub mod shape;
pub mod state;
mod status;
mod step;
mod story;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod timeline;
pub mod transition;

pub use amends_primitives::StepKey;
pub use config::Config;
pub use context::{StepContext, TraceContext};
pub use definition::{AfterPivot, BeforePivot, Builder, Definition, DefinitionError, Group};
pub use engine::{Drained, Engine, EngineBuilder, NewSaga, StartError, Started};
pub use erased::UnreadableOutput;
pub use handle::{Handle, Waited};
pub use journal::sql::{ApplyLocal, NothingLocal, SCHEMA, SqlJournal};
pub use kind::{NoLocal, Saga};
pub use metrics::EngineMetrics;
pub use outcome::{Cause, CauseKind, Closed, Failure, FailureKind, LocalOutcome, Outcome, Refusal, Undo};
pub use policy::{Backoff, Journaling, Persistence, Policy};
pub use runner::{Call, Intercept};
pub use status::{InvalidStatus, Snapshot, Status};
pub use step::{Compensable, LocalStep, Pivot, Step};
pub use story::{Happened, Told};

#[cfg(test)]
mod tests;
// The tutorial, which is also a test, names the crate as its readers do.
#[cfg(test)]
extern crate self as saga_engine;
