//! What `amends audit` sees of this service: its documents as they are stored. What must be true of one of them, its store sees to.

pub use crate::store::audit::{AuditPayment, AuditRefund, AuditRefundState, AuditStore, Start};
