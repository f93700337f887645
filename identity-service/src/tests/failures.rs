//! Dependencies that are down, and more work than can be done.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use amends_auth::{RedisRevocations, Revocable, Revocations as _};
use axum::http::header;
use service_base::kv::Redis;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::domain::network::Network;

use amends_testing::TestDatabase;

use super::support::{PASSWORD, Reply, SHOP, World};

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
    assert!(ready.iter().any(|(name, result)| name == "identity-store" && result.is_err()));
}

#[tokio::test]
async fn more_logins_than_can_be_hashed_are_told_to_come_back() {
    let world = World::with(|config| {
        config.password.concurrent_max = 1;
        config.password.waiting_max = 0;
    })
    .await;
    let busy = world.app.core.passwords.turn(Network::Own).await.unwrap();
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
async fn without_redis_a_revocation_is_kept_and_answered_503() {
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
    let Some(url) = amends_testing::redis() else { return };
    let redis = Redis::new(&url).unwrap();
    let world = World::with(|config| config.redis_url = url.as_str().into()).await;
    let login = world.login().await;
    let key = format!("amends:revoked:{}", login.claims()["jti"].as_str().unwrap());
    let session = format!("amends:revoked:sid:{}", login.claims()["sid"].as_str().unwrap());
    assert!(!redis.exists_any(&[key.clone(), session.clone()]).await.unwrap());
    let reply = world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert_eq!(reply.status, 200);
    assert!(redis.exists(&key).await.unwrap() && !redis.exists(&session).await.unwrap());
    let ttl: i64 = redis.query(redis::cmd("TTL").arg(&key)).await.unwrap();
    assert!((895..=900).contains(&ttl), "{ttl}: the token's life and the verifiers' leeway");
    world.form("/oauth2/revoke", None, &[("token", login.text("refresh_token"))]).await;
    assert!(redis.exists(&session).await.unwrap());
    assert!(world.app.core.store.unshared(world.now(), 9).await.unwrap().is_empty());
    let (jti, sid) = (login.claims()["jti"].clone(), login.claims()["sid"].clone());
    let there = RedisRevocations::new(redis.clone());
    for token in [
        Revocable { jti: jti.as_str().unwrap(), sid: Some("another") },
        Revocable { jti: "another", sid: sid.as_str() },
    ] {
        assert!(there.is_revoked(token).await.unwrap(), "{token:?}");
    }
    assert!(!there.is_revoked(Revocable { jti: "another", sid: Some("another") }).await.unwrap());
    for lost in [key.as_str(), session.as_str(), "amends:revocations:complete"] {
        let _: i64 = redis.query(redis::cmd("DEL").arg(lost)).await.unwrap();
    }
    world.app.core.maintain().await;
    let told = [redis.exists(&key).await.unwrap(), redis.exists(&session).await.unwrap()];
    assert_eq!(told, [true, true], "a Redis that lost its data is told again");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Passes everything on.
    Up,
    /// Refuses and cuts.
    Cut,
    /// Takes everything and passes nothing on.
    Hung,
}

/// A server behind a link that can be broken.
async fn relay(server: SocketAddr) -> (SocketAddr, watch::Sender<Link>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (set, state) = watch::channel(Link::Up);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut state = state.clone();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(server).await else { return };
                while *state.borrow_and_update() != Link::Cut {
                    if *state.borrow() == Link::Hung {
                        state.changed().await.unwrap();
                        return; // what was held back is lost
                    }
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        changed = state.changed() => changed.unwrap(),
                    }
                }
            });
        }
    });
    (address, set)
}

/// Asks until it is answered well; the bound is only for a test that fails.
async fn until_ok(ask: impl AsyncFn() -> Reply) {
    let begun = Instant::now();
    while ask().await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "does not recover");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_database_is_a_bounded_503_until_it_returns() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let (before, after) = database.url.split_once("127.0.0.1:").expect("the test server is on the loopback");
    let (port, path) = after.split_once('/').unwrap();
    let (address, link) = relay(SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))).await;
    let relayed = TestDatabase::at(format!("{before}{address}/{path}"));
    let world = World::on(relayed, |_| ()).await;
    let login = async || world.login_from("192.0.2.1", "ann", PASSWORD).await;
    assert_eq!(login().await.status, 200);
    for broken in [Link::Cut, Link::Hung] {
        link.send_replace(broken);
        for _ in 0..2 {
            let begun = Instant::now();
            let reply = login().await;
            assert_eq!(reply.error(), "503 store_unavailable");
            assert!(reply.headers.contains_key(header::RETRY_AFTER));
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        }
        link.send_replace(Link::Up);
        until_ok(&login).await;
    }
}
