//! `POST /oauth2/revoke`: RFC 7009. A token that is no good is answered like one that was.

use axum::{extract::State, response::IntoResponse};

use super::{
    HttpState,
    form::Form,
    problem::{NO_STORE, Refusal},
};

pub(super) async fn handle(State(state): State<HttpState>, mut form: Form) -> Result<impl IntoResponse, Refusal> {
    let client = form.client()?;
    // `token_type_hint` is a hint, and our two kinds of token tell themselves apart.
    let token = form.require("token", "token is missing")?;
    state.core.revoke(client, token).await?;
    Ok(NO_STORE)
}
