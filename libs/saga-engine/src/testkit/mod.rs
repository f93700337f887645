//! For tests of sagas and of stores: a journal in memory, a clock that follows tokio's, faults at every place, books that must
//! balance, a conformance suite.
//!
//! Public, so that the author of a saga can see what it does when things go wrong:
//!
//! ```ignore
//! for fault in Fault::every(place_order(&books).shape()) {
//!     let ended = run_with(fault, place_order(&books), journal(), id, order_of(eur(100))).await;
//!     assert!(ended.status().is_finished());
//!     assert_eq!(books.mistakes(), Vec::<String>::new());
//! }
//! ```

pub mod barrier;
mod books;
mod clock;
pub mod conformance;
mod faults;
mod memory;
mod run;

pub use books::Books;
pub use clock::TokioClock;
pub use faults::{CallFault, Fault, FaultInjector, FaultyJournal};
pub use memory::{ApplyInMemory, MemoryJournal, MemoryTx};
pub use run::{Ended, run_with};
