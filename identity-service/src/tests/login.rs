//! `POST /auth/login`.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};

use super::support::{PASSWORD, World, form, from_peer, send};
use crate::{config::BootstrapUser, domain::network::Network};

#[tokio::test]
async fn a_user_gets_tokens() {
    let world = World::new().await;
    let reply = world.login().await;
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(reply.text("token_type"), "Bearer");
    assert_eq!(reply.body["expires_in"], 600);
    assert_eq!(reply.text("scope"), "orders:read orders:write");
    assert!(reply.text("refresh_token").starts_with("amr_"));
    let header = jsonwebtoken::decode_header(reply.text("access_token")).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let now = world.now().as_secs();
    let claims = reply.claims();
    let (jti, sid) = (claims["jti"].as_str().unwrap(), claims["sid"].as_str().unwrap());
    assert_eq!(
        claims,
        serde_json::json!({
            "iss": "http://127.0.0.1:8081", "aud": "amends", "sub": "ann", "client_id": "amends-web",
            "scope": "orders:read orders:write", "jti": jti, "sid": sid, "iat": now, "exp": now + 600,
        })
    );
    let another = world.login().await.claims();
    assert!(another["jti"] != claims["jti"] && another["sid"] != claims["sid"]);
    assert_eq!(
        world.refresh(reply.text("refresh_token")).await.claims()["sid"],
        claims["sid"],
        "one session, one name"
    );
}

#[tokio::test]
async fn every_bad_credential_is_answered_alike() {
    let world = World::with(|config| {
        config.bootstrap.users.push(BootstrapUser {
            username: "gone".into(),
            password: PASSWORD.into(),
            disabled: true,
            ..BootstrapUser::default()
        });
    })
    .await;
    let mut answers = Vec::new();
    let long = "x".repeat(10_000);
    for (username, password) in [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", "correct horse battery staple "),
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("", ""),
        ("Ann", PASSWORD),
        ("gone", PASSWORD),
        ("shop", "shop-secret-0123456789"),
        ("ann\0", PASSWORD),
        (&long, PASSWORD),
    ] {
        let mut reply = world.login_from("192.0.2.9", username, password).await;
        assert_eq!(reply.error(), "401 invalid_credentials", "{username} {password}");
        assert!(reply.headers.contains_key(header::WWW_AUTHENTICATE));
        reply.body.as_object_mut().unwrap().remove("trace_id");
        answers.push(reply.body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn an_unknown_user_costs_as_many_hashes_as_a_known_one() {
    let world = World::new().await;
    let passwords = &world.app.core.passwords;
    for username in ["ann", "unknown"] {
        let before = passwords.compared();
        assert_eq!(world.login_from("192.0.2.9", username, "wrong").await.error(), "401 invalid_credentials");
        assert_eq!(passwords.compared() - before, 1, "{username}");
    }
}

#[tokio::test]
async fn guessing_slows_down_only_where_it_comes_from() {
    let world = World::new().await;
    let guess = || world.login_from("192.0.2.66", "ann", "guess");
    for _ in 0..6 {
        assert_eq!(guess().await.error(), "401 invalid_credentials");
    }
    let refused = guess().await;
    assert_eq!(refused.error(), "429 rate_limited");
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    let right = world.login_from("192.0.2.66", "ann", PASSWORD).await;
    assert_eq!(right.error(), "429 rate_limited", "the right password must not be told apart while waiting");
    assert_eq!(world.login_from("192.0.2.1", "ann", PASSWORD).await.status, StatusCode::OK, "the owner is elsewhere");
    assert_eq!(world.login_from("192.0.2.66", "bob", "guess").await.error(), "401 invalid_credentials");
    world.advance(1);
    assert_eq!(guess().await.error(), "401 invalid_credentials");
    assert_eq!(guess().await.headers[header::RETRY_AFTER], "2");
    world.advance(2);
    assert_eq!(world.login_from("192.0.2.66", "ann", PASSWORD).await.status, StatusCode::OK);
    assert_eq!(guess().await.error(), "401 invalid_credentials", "a success forgets the failures");
}

#[tokio::test]
async fn a_clock_set_back_makes_no_wait_longer() {
    let world = World::new().await;
    let guess = || world.login_from("192.0.2.66", "ann", "guess");
    for _ in 0..6 {
        assert_eq!(guess().await.error(), "401 invalid_credentials");
    }
    assert_eq!(guess().await.error(), "429 rate_limited");
    world.clock.step_back(std::time::Duration::from_hours(1));
    assert_eq!(guess().await.error(), "401 invalid_credentials", "how long ago it was nobody knows");
    assert_eq!(guess().await.headers[header::RETRY_AFTER], "2", "it is counted all the same");
    world.advance(2);
    assert_eq!(world.login_from("192.0.2.66", "ann", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_flood_from_one_address_stops_no_login_from_another() {
    let world = World::with(|config| {
        config.password.concurrent_max = 1;
        config.password.waiting_max = 8;
        config.password.wait_ms_max = 10_000;
    })
    .await;
    let flooder = "2001:db8:bad::1";
    let busy = world.app.core.passwords.turn(Network::of(Some(flooder.parse().unwrap()))).await.unwrap();
    let world = Arc::new(world);
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..100 {
        let world = Arc::clone(&world);
        // A name and an address of its own each; the network is one.
        flood.spawn(async move { world.login_from(&format!("2001:db8:bad::{n:x}"), &format!("name-{n}"), "x").await });
    }
    for _ in 0..92 {
        let reply = flood.join_next().await.unwrap().unwrap();
        assert_eq!(reply.error(), "503 overloaded");
        assert!(reply.headers.contains_key(header::RETRY_AFTER));
    }
    assert_eq!(world.app.core.passwords.waiting(), 8, "as many as may wait");
    let owner = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.login_from("192.0.2.1", "ann", PASSWORD).await }
    });
    let displaced = flood.join_next().await.unwrap().unwrap();
    assert_eq!(displaced.error(), "503 overloaded", "one of the flood gives way");
    drop(busy);
    assert_eq!(owner.await.unwrap().status, StatusCode::OK);
    while let Some(reply) = flood.join_next().await {
        assert_eq!(reply.unwrap().error(), "401 invalid_credentials", "and the rest is served, in turn");
    }
    assert_eq!(world.app.core.passwords.waiting(), 0);
}

#[tokio::test]
async fn many_guesses_at_once_are_not_let_through_by_one_answer() {
    let world = World::with(|config| config.throttle.free_failures = 3).await;
    let guesses = (0..40).map(|_| world.login_from("192.0.2.66", "ann", "guess"));
    let answers = futures::future::join_all(guesses).await;
    let tried = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert!((4..=5).contains(&tried), "{tried} guesses were tried: three are free, one more, and one beside it");
}

#[tokio::test]
async fn an_address_a_caller_makes_up_is_not_believed() {
    let world = World::with(|config| config.throttle.free_failures = 0).await;
    let guess = async |claimed: &str| {
        let body = r#"{"username":"ann","password":"guess"}"#;
        let request = Request::post("/auth/login")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", claimed)
            .body(Body::from(body))
            .unwrap();
        send(&world.app.router, from_peer(request, "203.0.113.5".parse().unwrap())).await.error()
    };
    assert_eq!(guess("192.0.2.1").await, "401 invalid_credentials");
    assert_eq!(guess("192.0.2.2").await, "429 rate_limited");
}

#[tokio::test]
async fn bad_bodies_say_what_is_wrong() {
    let world = World::new().await;
    let check = async |content_type: &str, body: String| {
        let request =
            Request::post("/auth/login").header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
        send(&world.app.router, request).await.error()
    };
    let json = "application/json";
    assert_eq!(check(json, "{".into()).await, "400 invalid_json");
    assert_eq!(check(json, r#"{"username":"ann"}"#.into()).await, "422 invalid_request");
    assert_eq!(check(json, r#"{"username":"ann","password":1}"#.into()).await, "422 invalid_request");
    assert_eq!(check(json, r#"{"username":"ann","password":"x","admin":true}"#.into()).await, "422 unknown_field");
    let scoped = |scope: &str| format!(r#"{{"username":"ann","password":"{PASSWORD}","scope":"{scope}"}}"#);
    assert_eq!(check(json, scoped("orders:admin")).await, "422 invalid_request");
    assert_eq!(check(json, scoped("a  b")).await, "422 invalid_request");
    assert_eq!(check(json, scoped("orders:read")).await, "200 -");
    assert_eq!(check("text/plain", "{}".into()).await, "415 unsupported_media_type");
    assert_eq!(check(json, format!(r#"{{"username":"{}"}}"#, "x".repeat(17_000))).await, "413 payload_too_large");
    assert_eq!(world.get("/auth/login").await.error(), "405 method_not_allowed");
}

#[tokio::test]
async fn the_password_grant_is_for_development() {
    let fields = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    let world = World::new().await;
    assert_eq!(world.token(None, &fields).await.error(), "400 unsupported_grant_type");
    let development = World::with(|config| config.password_grant = true).await;
    let reply = development.token(None, &fields).await;
    assert_eq!(reply.claims()["sub"], "ann");
    let wrong = [("grant_type", "password"), ("username", "ann"), ("password", "x")];
    assert_eq!(development.token(None, &wrong).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn a_restart_keeps_sessions_and_a_new_password_ends_them() {
    let world = World::new().await;
    let token = world.login().await.text("refresh_token").to_owned();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    world.advance(1);
    let same = world.again(|_| ()).await;
    let reply = form(&same.router, "/oauth2/token", None, &fields).await;
    assert_eq!(reply.status, StatusCode::OK);
    let next = reply.text("refresh_token").to_owned();
    let changed = world.again(|config| config.bootstrap.users[0].password = "another".into()).await;
    let fields = [("grant_type", "refresh_token"), ("refresh_token", next.as_str())];
    assert_eq!(form(&changed.router, "/oauth2/token", None, &fields).await.error(), "400 invalid_grant");
    assert_eq!(world.login_from("192.0.2.1", "ann", PASSWORD).await.error(), "401 invalid_credentials");
}

#[tokio::test]
async fn a_costlier_hash_replaces_the_old_one_at_the_next_login() {
    let world = World::new().await;
    let hash = async || world.app.core.store.user("ann").await.unwrap().unwrap().password_hash;
    assert!(hash().await.contains("m=8,"));
    let costlier = world.again(|config| config.password.memory_kib = 16).await;
    let reply = {
        let body = serde_json::json!({ "username": "ann", "password": PASSWORD }).to_string();
        let request =
            Request::post("/auth/login").header(header::CONTENT_TYPE, "application/json").body(Body::from(body));
        send(&costlier.router, request.unwrap()).await
    };
    assert_eq!(reply.status, StatusCode::OK);
    assert!(hash().await.contains("m=16,"));
}
