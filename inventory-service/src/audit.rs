//! What `amends audit` sees of this service: its rows as they are stored, and what must be true of them.

pub use crate::store::{
    Store,
    audit::{AuditLine, AuditReservation, AuditStep},
    checks,
};
