//! Where the domain and the engine meet: the two sagas as data, their steps one a file, and what their ends change in our own
//! tables.
//!
//! Must not know: HTTP, gRPC, SQL text.

pub mod cancel_order;
mod participants;
pub mod place_order;
mod sagas;
mod story;
#[cfg(test)]
mod tests;

pub use crate::{ports::OrderChange, store::Journal};
pub use cancel_order::CancelOrder;
pub use participants::Participants;
pub use place_order::PlaceOrder;
pub use saga_engine::timeline::Timeline;
pub use sagas::{Begin, Sagas, Waited};
