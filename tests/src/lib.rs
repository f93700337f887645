//! The tests that need more than one crate: contract, platform, chaos, security.
