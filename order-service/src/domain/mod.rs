//! Pure rules for orders: what may happen to one, and what it is worth.
//!
//! Invariant: nothing here awaits, reads a clock, makes an id, or knows HTTP, SQL, gRPC, sagas or participants.

mod basket;
mod command;
mod decide;
mod event;
mod evolve;
mod failure;
mod order;
mod rejection;
mod state;
mod words;

pub use basket::{Basket, BasketProblem, CatalogueItem, Line, LineProblem, NewLine, PricingProblem};
pub use command::Command;
pub use decide::{Applied, decide};
pub use event::Event;
pub use evolve::{CorruptHistory, evolve};
pub use failure::{Failure, FailureCode};
pub use order::{Order, OrderHead};
pub use rejection::Rejection;
pub use state::{Receipt, State, Status};
pub use words::{CustomerId, InvalidWord, PaymentMethod, Quantity, Sku};

/// One order's lines fit a gRPC frame, a batch read of the catalogue and one reservation, all of which allow as many.
pub const LINES_PER_ORDER_MAX: usize = 100;
/// More of one article than any customer orders; keeps sums far from overflow for sane prices.
pub const QUANTITY_MAX: u32 = 1_000_000;
