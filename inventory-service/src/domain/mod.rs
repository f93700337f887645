//! Pure rules for stock and reservations. Nothing here awaits, reads a clock, or knows SQL, gRPC, sagas or step keys.

mod decide;
mod evolve;
mod item;
mod rejection;
mod reservation;
mod reserve;
mod sku;
mod state;

pub use decide::{Command, Decision, decide};
pub use evolve::{Event, StockMove, evolve};
pub use item::{Item, ItemError, NewItem, ON_HAND_MAX, Stock};
pub use rejection::Rejection;
pub use reservation::{PricedLine, Reservation};
pub use reserve::{LINES_MAX, Line, decide_reserve};
pub use sku::{InvalidSku, QUANTITY_MAX, Quantity, Sku};
pub use state::State;
