//! `GET /.well-known/oauth-authorization-server`: RFC 8414.

use axum::{Json, extract::State, http::header, response::IntoResponse};
use serde_json::json;

use super::HttpState;
use crate::domain::principal::Grant;

const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

pub(super) async fn handle(State(state): State<HttpState>) -> impl IntoResponse {
    let settings = &state.core.settings;
    let at = |path: &str| format!("{}{path}", settings.issuer);
    let grants = Grant::ALL.into_iter().filter(|grant| *grant != Grant::Password || settings.password_grant);
    let mut methods_or_none = METHODS.to_vec();
    methods_or_none.push("none");
    let body = json!({
        "issuer": settings.issuer,
        "token_endpoint": at("/oauth2/token"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "grant_types_supported": grants.map(Grant::as_str).collect::<Vec<_>>(),
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": methods_or_none,
        "introspection_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_methods_supported": methods_or_none,
    });
    ([(header::CACHE_CONTROL, format!("public, max-age={}", state.jwks_max_age_secs))], Json(body))
}
