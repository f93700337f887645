//! Clients at `POST /oauth2/token`, and what all OAuth endpoints have in common.

use axum::{
    body::Body,
    http::{Request, header},
};

use super::support::{EXCHANGE, OTHER, SHOP, SHOP_SECRET, World, basic, send};

const FOR_ITSELF: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn a_client_gets_a_token_for_itself() {
    let world = World::new().await;
    let reply = world.token(SHOP, &[FOR_ITSELF]).await;
    assert_eq!(reply.error(), "200 -", "{reply:?}");
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(reply.headers[header::PRAGMA], "no-cache");
    assert_eq!(reply.text("scope"), "payments:read payments:write");
    assert!(reply.body.get("refresh_token").is_none(), "it can just ask again");
    let claims = reply.claims();
    assert_eq!((&claims["sub"], &claims["client_id"]), (&"shop".into(), &"shop".into()));
    let narrowed = world.token(SHOP, &[FOR_ITSELF, ("scope", "payments:read")]).await;
    assert_eq!(narrowed.claims()["scope"], "payments:read");
    let in_the_body = [FOR_ITSELF, ("client_id", "shop"), ("client_secret", SHOP_SECRET), ("scope", "")];
    assert_eq!(world.token(None, &in_the_body).await.text("scope"), "payments:read payments:write");
}

#[tokio::test]
async fn refusals_have_the_words_of_rfc_6749() {
    let world = World::new().await;
    let check = async |client, fields: &[(&str, &str)]| {
        let reply = world.token(client, fields).await;
        assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
        let challenged = reply.headers.contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(challenged, reply.error() == "401 invalid_client", "{reply:?}");
        reply.error()
    };
    let body_client = ("client_id", "shop");
    assert_eq!(check(SHOP, &[]).await, "400 invalid_request");
    assert_eq!(check(SHOP, &[("grant_type", "")]).await, "400 invalid_request");
    assert_eq!(check(SHOP, &[("grant_type", "implicit")]).await, "400 unsupported_grant_type");
    assert_eq!(check(None, &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(None, &[FOR_ITSELF, body_client]).await, "401 invalid_client");
    assert_eq!(check(Some(("shop", "wrong")), &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(Some(("shop", "")), &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(Some(("nobody", SHOP_SECRET)), &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(Some(("amends-web", "")), &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(Some(("ann", "x")), &[FOR_ITSELF]).await, "401 invalid_client");
    assert_eq!(check(OTHER, &[FOR_ITSELF]).await, "400 unauthorized_client");
    assert_eq!(check(SHOP, &[FOR_ITSELF, ("scope", "orders:admin")]).await, "400 invalid_scope");
    assert_eq!(check(SHOP, &[FOR_ITSELF, ("scope", "payments:read orders:admin")]).await, "400 invalid_scope");
    assert_eq!(check(SHOP, &[FOR_ITSELF, ("scope", "a  b")]).await, "400 invalid_scope");
    assert_eq!(check(SHOP, &[FOR_ITSELF, FOR_ITSELF]).await, "400 invalid_request");
    assert_eq!(check(SHOP, &[FOR_ITSELF, body_client]).await, "200 -");
    assert_eq!(check(SHOP, &[FOR_ITSELF, ("client_id", "other")]).await, "400 invalid_request");
    assert_eq!(check(SHOP, &[FOR_ITSELF, ("client_secret", SHOP_SECRET)]).await, "400 invalid_request");
}

#[tokio::test]
async fn requests_that_are_no_forms_are_refused() {
    let world = World::new().await;
    let check = async |path: &str, content_type: &str, body: Vec<u8>| {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::AUTHORIZATION, basic("shop", SHOP_SECRET))
            .body(Body::from(body))
            .unwrap();
        send(&world.app.router, request).await.error()
    };
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(check(path, "application/json", b"{}".to_vec()).await, "400 invalid_request");
        assert_eq!(check(path, form, b"grant_type=%ff".to_vec()).await, "400 invalid_request");
        assert_eq!(check(path, form, b"token=\xff".to_vec()).await, "400 invalid_request");
        assert_eq!(check(path, form, vec![b'x'; 17_000]).await, "413 payload_too_large");
        assert_eq!(check(path, form, Vec::new()).await, "400 invalid_request");
        assert_eq!(world.get(path).await.error(), "405 method_not_allowed");
    }
    assert_eq!(world.get("/oauth2/authorize").await.error(), "404 not_found");
}

#[tokio::test]
async fn an_exchanged_token_permits_less_and_lives_no_longer() {
    let world = World::new().await;
    let user = world.login().await;
    world.advance(100);
    let exchange = async |client, token: &str, more: &[(&str, &str)]| {
        let mut fields = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        fields.extend_from_slice(more);
        world.token(client, &fields).await
    };
    let token = user.text("access_token");
    let reply = exchange(SHOP, token, &[("scope", "orders:read"), ("audience", "amends")]).await;
    assert_eq!(reply.error(), "200 -", "{reply:?}");
    assert_eq!(reply.text("issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(reply.body["expires_in"], 500);
    let claims = reply.claims();
    assert_eq!(claims["sub"], "ann");
    assert_eq!(claims["client_id"], "shop");
    assert_eq!(claims["scope"], "orders:read");
    assert_eq!(claims["exp"], user.claims()["exp"]);
    assert_eq!(claims["act"], serde_json::json!({ "sub": "shop" }));

    let once_more = exchange(SHOP, reply.text("access_token"), &[]).await;
    assert_eq!(once_more.claims()["act"], serde_json::json!({ "sub": "shop", "act": { "sub": "shop" } }));
    let narrowed = reply.text("access_token").to_owned();
    assert_eq!(exchange(SHOP, &narrowed, &[("scope", "orders:write")]).await.error(), "400 invalid_scope");
    assert_eq!(exchange(SHOP, token, &[("scope", "payments:write")]).await.error(), "400 invalid_scope");
    assert_eq!(exchange(OTHER, token, &[]).await.error(), "400 unauthorized_client");
    assert_eq!(exchange(None, token, &[]).await.error(), "401 invalid_client");
    assert_eq!(exchange(SHOP, "nonsense", &[]).await.error(), "400 invalid_request");
    assert_eq!(exchange(SHOP, user.text("refresh_token"), &[]).await.error(), "400 invalid_request");
    assert_eq!(exchange(SHOP, token, &[("audience", "else")]).await.error(), "400 invalid_target");
    assert_eq!(exchange(SHOP, token, &[("resource", "https://x")]).await.error(), "400 invalid_target");
    assert_eq!(exchange(SHOP, token, &[("actor_token", "x")]).await.error(), "400 invalid_request");
    let saml = ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2");
    assert_eq!(exchange(SHOP, token, &[saml]).await.error(), "400 invalid_request");
    let mut often = narrowed;
    for _ in 0..3 {
        often = exchange(SHOP, &often, &[]).await.text("access_token").to_owned();
    }
    assert_eq!(exchange(SHOP, &often, &[]).await.error(), "400 invalid_request", "a loop");
    world.form("/oauth2/revoke", None, &[("token", token)]).await;
    assert_eq!(exchange(SHOP, token, &[]).await.error(), "400 invalid_request", "revoked");
}
