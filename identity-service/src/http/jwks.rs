//! `GET /.well-known/jwks.json`: the public keys (RFC 7517), from memory: verifiers get them while the store is down.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{HttpState, problem::problem_of};
use crate::{
    app::{Failure, keys::KeysError},
    crypto::signing::PublicKey,
};

pub(super) async fn handle(State(state): State<HttpState>) -> Response {
    let keys = state.core.keys.public(state.core.now());
    if keys.is_empty() {
        // An empty set would be cached, and every token refused.
        return problem_of(&Failure::Keys(KeysError::None)).into_response();
    }
    let keys: Vec<Value> = keys.iter().map(PublicKey::to_jwk).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        (header::CACHE_CONTROL, format!("public, max-age={}", state.jwks_max_age_secs)),
    ];
    (headers, Json(json!({ "keys": keys }))).into_response()
}
