//! Why a caller is not let in, and how that is said.

use std::time::Duration;

use axum::response::{IntoResponse, Response};

use service_base::problem::{Code, Problem};

/// What is wrong with a token. For logs and metrics; callers learn only "expired" or "not valid".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidToken {
    /// Longer than we look at.
    #[error("too long")]
    TooLong,
    /// Not three parts of base64url with JSON in the first two, or a claim of another type.
    #[error("malformed")]
    Malformed,
    /// Signed in a way we do not accept, or not at all.
    #[error("algorithm not allowed")]
    Algorithm,
    /// Not an access token (`typ` is not `at+jwt`).
    #[error("not an access token")]
    Type,
    /// Has extensions that must be understood.
    #[error("critical extensions")]
    Critical,
    /// Signed by a key that the issuer does not publish.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("bad signature")]
    Signature,
    /// By another issuer.
    #[error("foreign issuer")]
    Issuer,
    /// For another audience.
    #[error("foreign audience")]
    Audience,
    /// Its time has not come.
    #[error("not yet valid")]
    NotYet,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Taken back.
    #[error("revoked")]
    Revoked,
}

impl InvalidToken {
    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no bearer token.
    #[error("no bearer token")]
    Missing,
    /// The token is not good.
    #[error("the token is not valid: {0}")]
    Invalid(InvalidToken),
    /// The token is good, but not for this.
    #[error("the token lacks the scope {required}")]
    InsufficientScope {
        /// What it would take.
        required: &'static str,
    },
    /// Too many bad tokens came from there.
    #[error("too many invalid tokens from this address")]
    Throttled {
        /// When it may try again.
        retry_after: Duration,
    },
    /// The issuer's keys or the list of revocations cannot be read at the moment.
    #[error("{what} cannot be asked at the moment")]
    Unavailable {
        /// What cannot be asked.
        what: &'static str,
    },
}

impl From<InvalidToken> for AuthError {
    fn from(reason: InvalidToken) -> Self {
        Self::Invalid(reason)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match &error {
            // RFC 6750, 3.1: without any authentication information, no error code.
            AuthError::Missing => Self::from(Code::Unauthenticated).www_authenticate(r#"Bearer realm="amends""#),
            AuthError::Invalid(reason) => {
                let detail = match reason {
                    InvalidToken::Expired => "the access token has expired",
                    _ => "the access token is not valid",
                };
                Self::of(Code::InvalidToken, detail).www_authenticate(format!(
                    r#"Bearer realm="amends", error="invalid_token", error_description="{detail}""#
                ))
            }
            AuthError::InsufficientScope { required } => {
                Self::of(Code::InsufficientScope, format!("this needs the scope {required}")).www_authenticate(format!(
                    r#"Bearer realm="amends", error="insufficient_scope", scope="{required}""#
                ))
            }
            AuthError::Throttled { retry_after } => {
                Self::of(Code::RateLimited, error.to_string()).retry_after(*retry_after)
            }
            AuthError::Unavailable { .. } => {
                Self::of(Code::DependencyUnavailable, "tokens cannot be verified at the moment")
                    .retry_after(Duration::from_secs(1))
            }
        }
    }
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_challenge() {
        let check = |error: AuthError| {
            let response = error.into_response();
            let challenge = response.headers().get("www-authenticate").map(|v| v.to_str().unwrap().to_owned());
            (response.status().as_u16(), challenge.unwrap_or_default())
        };
        assert_eq!(check(AuthError::Missing), (401, r#"Bearer realm="amends""#.to_owned()));
        let (status, challenge) = check(InvalidToken::Signature.into());
        assert_eq!(status, 401);
        assert!(challenge.contains(r#"error="invalid_token""#) && !challenge.contains("signature"));
        let (status, challenge) = check(AuthError::InsufficientScope { required: "orders:write" });
        assert_eq!(status, 403);
        assert!(challenge.contains(r#"scope="orders:write""#));
        assert_eq!(check(AuthError::Unavailable { what: "the issuer's keys" }).0, 503);
        assert_eq!(check(AuthError::Throttled { retry_after: Duration::from_secs(3) }).0, 429);
    }
}
