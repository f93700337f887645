//! For tests of sagas and of stores: a journal in memory, a clock that follows tokio's, faults at every place, a conformance suite.
//!
//! Public, because whoever writes a saga wants to know what it does when things go wrong.

mod clock;
mod memory;

pub use clock::TokioClock;
pub use memory::{ApplyInMemory, MemoryJournal, MemoryTx};
