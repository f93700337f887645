//! `POST /oauth2/token`: RFC 6749 section 3.2, and RFC 8693.

use axum::{Json, extract::State, response::IntoResponse};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::{
    HttpState,
    address::CallerNetwork,
    form::Form,
    problem::{NO_STORE, Refusal},
};
use crate::{
    app::{
        Core, TokenError,
        authenticate::{Accepts, require},
        exchange::{ACCESS_TOKEN_TYPE, Exchange},
        login::Login,
        tokens::Issued,
    },
    domain::principal::Grant,
};

/// RFC 6749 section 5.1.
#[derive(Serialize)]
pub(super) struct TokenResponse {
    access_token: Exposed,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Exposed>,
    scope: String,
}

/// A secret on its way out.
struct Exposed(SecretString);

impl Serialize for Exposed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl TokenResponse {
    pub(super) fn new(issued: Issued, issued_token_type: Option<&'static str>) -> Self {
        Self {
            access_token: Exposed(issued.access_token),
            issued_token_type,
            token_type: "Bearer",
            expires_in: issued.expires_in,
            refresh_token: issued.refresh_token.map(Exposed),
            scope: issued.scopes.to_string(),
        }
    }
}

pub(super) async fn handle(
    State(state): State<HttpState>,
    address: CallerNetwork,
    mut form: Form,
) -> Result<impl IntoResponse, Refusal> {
    let core = &state.core;
    let grant_type = form.require("grant_type", "grant_type is missing")?;
    let grant: Grant = grant_type.parse().map_err(|_| TokenError::UnsupportedGrantType)?;
    let requested = form.scope()?;
    let client = form.client()?;
    let (issued, issued_token_type) = match grant {
        Grant::ClientCredentials => (core.client_credentials(client, requested).await?, None),
        Grant::RefreshToken => {
            let token = form.require("refresh_token", "refresh_token is missing")?;
            (core.refresh(client, token, requested).await?, None)
        }
        Grant::Password if core.settings.password_grant => {
            let client = core.authenticate(client, Accepts::AnyClient).await?;
            require(&client, grant)?;
            let login = Login {
                username: form.require("username", "username is missing")?.to_owned(),
                password: form.get("password").unwrap_or_default().into(),
                requested,
                network: address.0,
            };
            (core.login(login, &client, grant.label()).await?, None)
        }
        Grant::Password => return Err(TokenError::UnsupportedGrantType.into()),
        Grant::TokenExchange => {
            let exchange = Exchange { subject_token: subject_token(core, &form)?, requested };
            (core.exchange(client, exchange).await?, Some(ACCESS_TOKEN_TYPE))
        }
    };
    Ok((NO_STORE, Json(TokenResponse::new(issued, issued_token_type))))
}

/// What RFC 8693 allows beyond what we do is refused, not ignored.
fn subject_token<'f>(core: &Core, form: &'f Form) -> Result<&'f str, TokenError> {
    let token = form.require("subject_token", "subject_token is missing")?;
    if form.require("subject_token_type", "subject_token_type is missing")? != ACCESS_TOKEN_TYPE {
        return Err(TokenError::InvalidRequest("only access tokens can be exchanged"));
    }
    if form.get("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN_TYPE) {
        return Err(TokenError::InvalidRequest("only access tokens are issued"));
    }
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return Err(TokenError::InvalidRequest(
            "the actor is the authenticated client; an actor_token is not accepted",
        ));
    }
    if form.all("audience").any(|audience| audience != core.settings.audience) || form.all("resource").next().is_some()
    {
        return Err(TokenError::InvalidTarget);
    }
    Ok(token)
}
