//! `amends backup` and `amends restore`: all stores of a shop at one moment, while it sells, checked before they are called a backup.
//!
//! The procedure, and what to do where the stores are servers, is in `docs/operations.md`; why it is done so, in
//! `docs/adr/0012-one-server-per-data-directory.md`.

mod check;
mod copy;
mod manifest;
pub mod restore;
mod snapshot;
pub mod take;

pub(crate) use check::schemas as schemas_of;
pub use manifest::Manifest;

/// How large a piece of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;
