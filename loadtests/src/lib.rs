//! Load scenarios and their budgets. They speak only the public interface, through the gateway, as a customer's client would.
//!
//! Must not know: any other crate of this workspace.

pub mod budgets;
pub mod curve;
pub mod scenario;
