//! What the services promise each other: the generated protobuf and gRPC code, and nothing else.
//!
//! Must not know: domain types, conversions, helpers. A service converts at its own edge, so that refactoring a domain
//! cannot break a consumer. `src/gen` is written by `cargo xtask gen` (the test `bootstrap`), committed, and checked.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::allow_attributes, unreachable_pub)]

/// Shared messages: money, step keys.
pub mod common {
    /// Version 1.
    pub mod v1 {
        include!("gen/amends.common.v1.rs");
    }
}
/// The catalogue and stock participant.
pub mod inventory {
    /// Version 1.
    pub mod v1 {
        include!("gen/amends.inventory.v1.rs");
    }
}
/// The public order interface.
pub mod orders {
    /// Version 1.
    pub mod v1 {
        include!("gen/amends.orders.v1.rs");
    }
}
/// The payment participant.
pub mod payments {
    /// Version 1.
    pub mod v1 {
        include!("gen/amends.payments.v1.rs");
    }
}

/// The descriptors of every file above, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");
