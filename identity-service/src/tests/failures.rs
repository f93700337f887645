//! Dependencies that are down, and more work than can be done.

use axum::http::header;
use service_kit::kv::Redis;

use super::support::{PASSWORD, SHOP, World, server};

#[tokio::test]
async fn without_the_store_callers_are_told_when_to_come_back() {
    let world = World::new().await;
    let login = world.login().await;
    world.app.database.close().await;
    let token = ("token", login.text("access_token"));
    for reply in [
        world.login_from("192.0.2.1", "ann", PASSWORD).await,
        world.token(SHOP, &[("grant_type", "client_credentials")]).await,
        world.refresh(login.text("refresh_token")).await,
        world.form("/oauth2/introspect", SHOP, &[token]).await,
        world.form("/oauth2/revoke", None, &[token]).await,
    ] {
        assert_eq!(reply.error(), "503 store_unavailable");
        assert_eq!(reply.headers[header::RETRY_AFTER], "1");
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/problem+json");
    }
    assert_eq!(world.get("/.well-known/jwks.json").await.error(), "200 -", "verifiers still get the keys");
    world.app.core.maintain().await;
    assert_eq!(world.get("/.well-known/jwks.json").await.error(), "200 -");
    let ready = world.runtime.readiness.ask().await;
    assert!(ready.iter().any(|(name, result)| name == "identity.store" && result.is_err()));
}

#[tokio::test]
async fn more_logins_than_can_be_hashed_are_told_to_come_back() {
    let world = World::with(|config| {
        config.password.concurrent_max = 1;
        config.password.waiting_max = 0;
    })
    .await;
    let busy = world.app.core.passwords.turn().await.unwrap();
    // Each of these costs a hash, or the time would tell them apart.
    for (username, password) in [("nobody", ""), ("nobody", PASSWORD), ("", ""), ("ann", ""), ("ann", PASSWORD)] {
        let reply = world.login_from("192.0.2.1", username, password).await;
        assert_eq!(reply.error(), "503 overloaded", "{username} {password}");
        assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    }
    drop(busy);
    world.login().await;
    let metrics = world.runtime.metrics.encode();
    assert!(metrics.contains(r#"logins_total{result="overloaded"} 5"#), "{metrics}");
    assert!(metrics.contains(r#"logins_total{result="success"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"tokens_issued_total{grant="login"} 1"#), "{metrics}");
}

#[tokio::test]
async fn without_redis_a_revocation_is_kept_and_the_caller_told_to_ask_again() {
    let nobody_listens = "redis://127.0.0.1:1/0";
    let world = World::with(|config| config.redis_url = nobody_listens.into()).await;
    let login = world.login().await;
    let reply = world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert_eq!(reply.error(), "503 dependency_unavailable");
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    assert!(!world.is_active(login.text("access_token")).await, "here it is revoked");
    let now = world.now();
    assert_eq!(world.app.core.store.unshared(now, 9).await.unwrap().len(), 1, "and will be shared");
    assert_eq!(world.refresh(login.text("refresh_token")).await.error(), "200 -", "the rest works");
}

#[tokio::test]
async fn redis_is_told_and_told_again_when_it_lost_its_data() {
    let Some(url) = server("AMENDS_TEST_REDIS_URL") else { return };
    let redis = Redis::new(&url).unwrap();
    let world = World::with(|config| config.redis_url = url.as_str().into()).await;
    let login = world.login().await;
    let key = format!("amends:revoked:{}", login.claims()["jti"].as_str().unwrap());
    assert!(!redis.exists(&key).await.unwrap());
    let reply = world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert_eq!(reply.status, 200);
    assert!(redis.exists(&key).await.unwrap());
    let ttl: i64 = redis.query(redis::cmd("TTL").arg(&key)).await.unwrap();
    assert!((895..=900).contains(&ttl), "{ttl}: the token's life and the verifiers' leeway");
    assert!(world.app.core.store.unshared(world.now(), 9).await.unwrap().is_empty());
    for lost in [key.as_str(), "amends:revocations:complete"] {
        let _: i64 = redis.query(redis::cmd("DEL").arg(lost)).await.unwrap();
    }
    world.app.core.maintain().await;
    assert!(redis.exists(&key).await.unwrap(), "a Redis that lost its data is told again");
}
