//! `POST /oauth2/introspect`: RFC 7662.

use axum::{Json, extract::State, response::IntoResponse};
use serde_json::{Value, json};

use super::{
    HttpState,
    form::Form,
    problem::{NO_STORE, Refusal},
};
use crate::app::introspect::Introspection;

pub(super) async fn handle(State(state): State<HttpState>, mut form: Form) -> Result<impl IntoResponse, Refusal> {
    let client = form.client()?;
    let token = form.require("token", "token is missing")?;
    let body: Value = match state.core.introspect(client, token).await? {
        Introspection::Inactive => json!({ "active": false }),
        Introspection::Access(claims) => {
            let mut body = json!(claims);
            body["active"] = true.into();
            body["token_type"] = "Bearer".into();
            body
        }
        Introspection::Refresh { family, expires_at } => json!({
            "active": true,
            "sub": family.username,
            "client_id": family.client_id,
            "scope": family.scopes.to_string(),
            "iat": family.rotated_at.as_secs(),
            "exp": expires_at.as_secs(),
        }),
    };
    Ok((NO_STORE, Json(body)))
}
