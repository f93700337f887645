//! Errors as callers see them: RFC 6749 JSON where OAuth clients expect it, problems everywhere else.

use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use service_base::problem::{Code, Problem};

use crate::{
    app::{Failure, TokenError, keys::KeysError},
    crypto::password::PasswordError,
    ports::StoreError,
};

/// Tokens and what is said about them must not be cached (RFC 6749 section 5.1).
pub(super) const NO_STORE: [(HeaderName, &str); 2] =
    [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];

/// RFC 6749 section 5.2.
#[derive(Debug, Serialize)]
struct OAuthError {
    error: &'static str,
    error_description: String,
}

/// A refusal of an OAuth endpoint.
#[derive(Debug)]
pub(super) enum Refusal {
    /// In OAuth's words.
    OAuth(TokenError),
    /// What OAuth has no words for.
    Problem(Problem),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Failed(failure) => Self::Problem(problem_of(&failure)),
            TokenError::Throttled(wait) => Self::Problem(throttled(wait)),
            TokenError::TooManyRevocations(wait) => {
                let problem = Problem::of(Code::RateLimited, error.to_string());
                Self::Problem(problem.retry_after(wait))
            }
            other => Self::OAuth(other),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::OAuth(error) => error,
            Self::Problem(problem) => return problem.into_response(),
        };
        let (status, code) = match &error {
            TokenError::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            TokenError::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            TokenError::InvalidGrant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
            TokenError::UnauthorizedClient => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            TokenError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            TokenError::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope"),
            TokenError::InvalidTarget => (StatusCode::BAD_REQUEST, "invalid_target"),
            // Became problems above.
            TokenError::Throttled(_) | TokenError::TooManyRevocations(_) | TokenError::Failed(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
        };
        let body = Json(OAuthError { error: code, error_description: error.to_string() });
        if status == StatusCode::UNAUTHORIZED {
            let challenge = [(header::WWW_AUTHENTICATE, r#"Basic realm="amends", charset="UTF-8""#)];
            return (status, NO_STORE, challenge, body).into_response();
        }
        (status, NO_STORE, body).into_response()
    }
}

/// A failure that is not the caller's, logged here.
pub(super) fn problem_of(failure: &Failure) -> Problem {
    match failure {
        Failure::Store(StoreError::Unavailable(cause))
        | Failure::Keys(KeysError::Store(StoreError::Unavailable(cause))) => Problem::store_unavailable(cause),
        Failure::Sharing(cause) => {
            tracing::warn!(error = %cause, "revocations cannot be shared");
            unavailable(Code::DependencyUnavailable, "revocations cannot be shared at the moment; ask again")
        }
        Failure::Password(PasswordError::Overloaded) => {
            tracing::warn!("more log-ins than can be checked");
            unavailable(Code::Overloaded, "too many log-ins at once; try again in a moment")
        }
        Failure::Keys(KeysError::None) => unavailable(Code::StoreUnavailable, "the signing keys are not loaded yet"),
        Failure::Store(StoreError::Failed(_)) | Failure::Password(PasswordError::Failed) | Failure::Keys(_) => {
            Problem::bug(amends_sql::in_words(failure))
        }
    }
}

/// Wrong passwords before; not a lock, see `domain::throttle`.
pub(super) fn throttled(wait: std::time::Duration) -> Problem {
    let detail = "too many wrong passwords for this user from this address; wait before the next";
    Problem::of(Code::RateLimited, detail).retry_after(wait)
}

fn unavailable(code: Code, detail: &str) -> Problem {
    Problem::of(code, detail).retry_after(std::time::Duration::from_secs(1))
}
