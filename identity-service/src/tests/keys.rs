//! Signing keys: published, rotated, shared, sealed.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use amends_testing::TestDatabase;

use super::support::{Reply, SHOP, World, config, form, send};
use crate::build;

fn kids(reply: &Reply) -> BTreeSet<String> {
    let keys = reply.body["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signer(world: &World) -> String {
    let reply = world.token(SHOP, &[("grant_type", "client_credentials")]).await;
    jsonwebtoken::decode_header(reply.text("access_token")).unwrap().kid.unwrap()
}

#[tokio::test]
async fn the_key_set_verifies_the_tokens() {
    let world = World::new().await;
    let login = world.login().await;
    let set = world.get("/.well-known/jwks.json").await;
    assert_eq!(set.headers[header::CONTENT_TYPE], "application/jwk-set+json");
    assert_eq!(set.headers[header::CACHE_CONTROL], "public, max-age=300");
    let members: BTreeSet<&str> = set.body["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x"]), "nothing private");
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set.body).unwrap();
    let token = login.text("access_token");
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["amends"]);
    validation.set_issuer(&["http://127.0.0.1:8081"]);
    validation.validate_exp = false; // the clock is the test's
    let verified = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).unwrap();
    assert_eq!(verified.claims["sub"], "ann");
    let tampered = token.replacen('.', ".e", 1);
    assert!(jsonwebtoken::decode::<serde_json::Value>(tampered, &key, &validation).is_err());
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_until_its_tokens_expired() {
    let world = World::with(|config| {
        config.keys.period_secs = 10_000;
        config.keys.publish_ahead_secs = 1000;
    })
    .await;
    let set = async || kids(&world.get("/.well-known/jwks.json").await);
    let first = signer(&world).await;
    assert_eq!(set().await, BTreeSet::from([first.clone()]));

    world.advance(8990);
    world.app.core.maintain().await;
    assert_eq!(set().await.len(), 1);
    world.advance(10);
    world.app.core.maintain().await;
    let both = set().await;
    assert_eq!(both.len(), 2, "published");
    assert_eq!(signer(&world).await, first, "but not signing");
    world.advance(999);
    let last = world.login().await;
    assert_eq!(signer(&world).await, first);
    world.advance(1);
    let second = signer(&world).await;
    assert!(second != first && both.contains(&second), "signing without any request to the store");

    world.advance(598);
    assert!(world.is_active(last.text("access_token")).await, "the last token of the old key lives");
    world.advance(602);
    world.app.core.maintain().await;
    assert_eq!(set().await, BTreeSet::from([second.clone()]));
    assert_eq!(signer(&world).await, second);
}

#[tokio::test]
async fn a_start_before_the_key_was_made_publishes_what_it_signs_with() {
    let world = World::new().await;
    world.clock.step_back(std::time::Duration::from_mins(1));
    for hours in [0, 1, 24 * 365] {
        world.clock.step_back(std::time::Duration::from_hours(hours));
        let restarted = world.again(|_| ()).await;
        let form = async |path: &str, fields: &[(&str, &str)]| form(&restarted.router, path, SHOP, fields).await;
        let token = form("/oauth2/token", &[("grant_type", "client_credentials")]).await;
        let kid = jsonwebtoken::decode_header(token.text("access_token")).unwrap().kid.unwrap();
        let request = Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap();
        let set = send(&restarted.router, request).await;
        assert!(kids(&set).contains(&kid), "{hours}: {set:?}");
        let introspected = form("/oauth2/introspect", &[("token", token.text("access_token"))]).await;
        assert_eq!(introspected.body["active"], true, "{hours}");
    }
    assert_eq!(world.app.core.store.keys().await.unwrap().len(), 2, "one more, for the key of next year");
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_keeps_every_token_verifiable() {
    let world = World::new().await;
    let login = world.login().await;
    let year = std::time::Duration::from_hours(24 * 365);
    world.clock.step_forward(year);
    for _ in 0..3 {
        world.app.core.maintain().await;
        world.advance(10);
    }
    world.clock.step_back(year);
    assert!(world.is_active(login.text("access_token")).await, "before the store is read again");
    world.app.core.maintain().await;
    assert!(world.is_active(login.text("access_token")).await);
    assert_eq!(world.app.core.store.keys().await.unwrap().len(), 2, "a year makes one key, not fifty-two");
}

#[tokio::test]
async fn replicas_share_keys() {
    let world = World::new().await;
    let other = world.again(|_| ()).await;
    let token = world.login().await.text("access_token").to_owned();
    let reply = form(&other.router, "/oauth2/introspect", SHOP, &[("token", &token)]).await;
    assert_eq!(reply.body["active"], true);
    world.advance(7 * 24 * 3600);
    tokio::join!(world.app.core.maintain(), other.core.maintain());
    let now = world.now();
    assert_eq!(world.app.core.keys.public(now), other.core.keys.public(now));
    assert_eq!(other.core.keys.public(now).len(), 2);
}

#[tokio::test]
async fn the_key_encryption_key_can_be_changed_and_must_be_known() {
    let world = World::new().await;
    let login = world.login().await;
    let (old, new) = (STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
    let changed = world
        .again(|config| {
            config.key_encryption_key = new.clone().into();
            config.former_key_encryption_keys = vec![old.into()];
        })
        .await;
    let reply = form(&changed.router, "/oauth2/introspect", SHOP, &[("token", login.text("access_token"))]).await;
    assert_eq!(reply.body["active"], true);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", login.text("refresh_token"))];
    assert_eq!(form(&changed.router, "/oauth2/token", None, &fields).await.error(), "200 -");
    // Sealed anew: the former key is no longer needed for the signing keys.
    world.again(|config| config.key_encryption_key = new.into()).await;
    let mut wrong = config(&world.database);
    wrong.key_encryption_key = STANDARD.encode([9; 32]).into();
    let error = format!("{:#}", build(wrong, &world.runtime).await.unwrap_err());
    assert!(error.contains("identity.key_encryption_key"), "{error}");
}

#[tokio::test]
async fn the_store_holds_no_private_key_and_no_secret() {
    let database = TestDatabase::sqlite();
    let path = database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc").to_owned();
    let world = World::on(database, |_| ()).await;
    let login = world.login().await;
    world.app.database.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"argon2id") && holds(b"amends-web"), "the right file");
    for secret in [super::support::PASSWORD, super::support::SHOP_SECRET, login.text("refresh_token"), "PRIVATE"] {
        assert!(!holds(secret.as_bytes()), "{secret}");
    }
    // The fixed beginning of an Ed25519 key in PKCS #8.
    assert!(!holds(&[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]));
}

#[tokio::test]
async fn metadata_names_the_endpoints() {
    let world = World::with(|config| config.issuer = "https://shop.example/sts".into()).await;
    let reply = world.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(reply.text("issuer"), "https://shop.example/sts");
    assert_eq!(reply.text("token_endpoint"), "https://shop.example/sts/oauth2/token");
    assert_eq!(reply.text("jwks_uri"), "https://shop.example/sts/.well-known/jwks.json");
    let grants = reply.body["grant_types_supported"].as_array().unwrap();
    assert!(!grants.contains(&"password".into()) && grants.contains(&"client_credentials".into()));
}
