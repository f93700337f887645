//! `POST /auth/login`: a person logs in.

use axum::{Json, extract::State, response::IntoResponse};
use secrecy::SecretString;
use serde::Deserialize;

use service_base::problem::{Code, Problem};
use service_kit::http::JsonBody;

use super::{HttpState, address::CallerNetwork, problem, token::TokenResponse};
use crate::{
    app::{TokenError, login::Login},
    domain::scope::ScopeSet,
};

/// The body. `Debug` shows nothing of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    username: String,
    password: SecretString,
    #[serde(default)]
    scope: Option<String>,
}

pub(super) async fn handle(
    State(state): State<HttpState>,
    address: CallerNetwork,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<impl IntoResponse, Problem> {
    let requested = match body.scope.as_deref().filter(|scope| !scope.is_empty()).map(ScopeSet::parse).transpose() {
        Ok(requested) => requested,
        Err(error) => return Err(Problem::invalid("scope", error.to_string())),
    };
    let core = &state.core;
    let login = Login { username: body.username, password: body.password, requested, network: address.0 };
    let done = match core.login_client().await {
        Ok(client) => core.login(login, &client, "login").await,
        Err(error) => Err(error),
    };
    let issued = done.map_err(refused)?;
    Ok((problem::NO_STORE, Json(TokenResponse::new(issued, None))))
}

fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::InvalidGrant(detail) => {
            Problem::of(Code::InvalidCredentials, detail).www_authenticate(r#"Bearer realm="amends""#)
        }
        TokenError::Throttled(wait) => problem::throttled(wait),
        TokenError::InvalidScope => Problem::invalid("scope", error.to_string()),
        TokenError::Failed(failure) => problem::problem_of(&failure),
        // About clients, forms and revocations, which this endpoint has none of.
        TokenError::InvalidRequest(_)
        | TokenError::InvalidClient
        | TokenError::UnauthorizedClient
        | TokenError::UnsupportedGrantType
        | TokenError::InvalidTarget
        | TokenError::TooManyRevocations(_) => Problem::bug(format_args!("log-in: {error}")),
    }
}
