//! Cryptography of the token service: passwords, keys at rest, signatures, refresh tokens. All on aws-lc-rs and Argon2.
//!
//! Must not know: stores, transports.

pub(crate) mod keyring;
pub(crate) mod password;
pub(crate) mod refresh_token;
pub(crate) mod signing;
pub(crate) mod turns;
