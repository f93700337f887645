//! Access tokens: verifying those of callers, getting our own.
//!
//! No header is trusted because it came from inside: every service verifies, with the same [`Verifier`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod claims;
mod error;
mod jwks;
mod layer;
mod revocation;
mod service_token;
mod throttle;
mod token;
mod verifier;

pub use claims::{BearerToken, Claims, Scopes};
pub use error::{AuthError, InvalidToken};
pub use jwks::{FetchError, HttpKeys, Jwk, Jwks, KeySource};
pub use layer::{Gate, authenticate, claims_of};
pub use revocation::{
    NoRevocations, REVOKED_KEY_PREFIX, RedisRevocations, Revocable, Revocations, RevocationsUnavailable, revocations,
    session_name,
};
pub use service_token::{ServiceToken, ServiceTokenConfig, ServiceTokenError};
pub use verifier::{Verifier, VerifierConfig};

/// The token of an `Authorization: Bearer …` header.
///
/// # Errors
/// [`AuthError::Missing`] without one, [`AuthError::Invalid`] with more than one or one of another scheme.
pub fn bearer_of(headers: &axum::http::HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(axum::http::header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        // Which of two would count is exactly what an attacker would like to choose.
        return Err(AuthError::Invalid(InvalidToken::Malformed));
    }
    let text = value.to_str().map_err(|_| AuthError::Invalid(InvalidToken::Malformed))?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    Ok(token.trim_matches(' '))
}

#[cfg(test)]
mod tests;
