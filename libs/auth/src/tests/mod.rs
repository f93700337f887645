//! The verifier against an issuer that can do anything: rotate, vanish, lie.

mod clocks;
mod layers;
mod memory;
mod service_token;
mod support;
mod wycheproof;

use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

use serde_json::json;
use service_base::config::Section as _;

use super::*;
use support::{Issuer, World};

fn refused(result: Result<Claims, AuthError>) -> String {
    match result {
        Ok(claims) => format!("let in: {}", claims.sub),
        Err(AuthError::Invalid(reason)) => reason.label().to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_good_token_is_let_in_by_either_algorithm() {
    for issuer in [Issuer::ed25519("k1"), Issuer::es256("k1")] {
        let world = World::with(&issuer);
        let claims = world.verifier.verify(&issuer.token(&world)).await.unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.client_id.as_str(), claims.jti.as_str()),
            ("demo", "amends-web", "jti-1")
        );
        assert_eq!(claims.exp.since(claims.iat), Duration::from_mins(10));
        claims.require("orders:write").unwrap();
        assert_eq!(
            claims.require("orders:admin").unwrap_err(),
            AuthError::InsufficientScope { required: "orders:admin" }
        );
        assert!(!format!("{claims:?}").contains(&issuer.token(&world)));
    }
}

#[tokio::test]
async fn a_token_that_says_anything_else_is_not() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let now = world.now_secs();
    let check = async |changes: serde_json::Value| {
        refused(world.verifier.verify(&issuer.token_with(&world, &json!({}), &changes)).await)
    };
    assert_eq!(check(json!({"iss": "http://evil.example"})).await, "issuer");
    assert_eq!(check(json!({"iss": "http://issuer.test/"})).await, "issuer");
    assert_eq!(check(json!({"aud": "other"})).await, "audience");
    assert_eq!(check(json!({"aud": ["other", "amends"]})).await, "let in: demo");
    assert_eq!(check(json!({"exp": now - 6})).await, "expired");
    assert_eq!(check(json!({"exp": now - 5})).await, "expired");
    assert_eq!(check(json!({"exp": now - 4})).await, "let in: demo");
    assert_eq!(check(json!({"exp": (now + 600).to_string()})).await, "malformed");
    assert_eq!(check(json!({"nbf": now + 6})).await, "not_yet");
    assert_eq!(check(json!({"nbf": now + 5})).await, "let in: demo");
    assert_eq!(check(json!({"iat": now + 60})).await, "not_yet");
    let header = async |changes: serde_json::Value| {
        refused(world.verifier.verify(&issuer.token_with(&world, &changes, &json!({}))).await)
    };
    assert_eq!(header(json!({"typ": "JWT"})).await, "type");
    assert_eq!(header(json!({"alg": "HS256"})).await, "algorithm");
    assert_eq!(header(json!({"alg": "none"})).await, "algorithm");
    // The key is Ed25519; the header's word does not make it another.
    assert_eq!(header(json!({"alg": "ES256"})).await, "algorithm");
    assert_eq!(header(json!({"kid": "k2"})).await, "unknown_key");
}

#[test]
fn every_setting_has_its_bound() {
    let wrong = |change: &dyn Fn(&mut VerifierConfig)| {
        let (mut config, mut errors) = (VerifierConfig::default(), Vec::new());
        change(&mut config);
        config.validate(&mut errors);
        errors.into_iter().map(|error| error.key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(wrong(&|_| {}), "");
    assert_eq!(wrong(&|config| config.issuer.clear()), "issuer");
    assert_eq!(wrong(&|config| config.audience.clear()), "audience");
    for (url, good) in [("http://a/jwks", true), ("https://a/jwks", true), ("ftp://a/jwks", false), ("a", false)] {
        assert_eq!(wrong(&|config| config.jwks_url = url.into()).is_empty(), good, "{url}");
    }
    for (secs, good) in [(0, true), (300, true), (301, false)] {
        assert_eq!(wrong(&|config| config.leeway_secs = secs).is_empty(), good, "leeway_secs {secs}");
    }
    for (secs, good) in [(0, true), (60, true), (61, false)] {
        assert_eq!(wrong(&|config| config.cache_secs = secs).is_empty(), good, "cache_secs {secs}");
    }
    for (secs, good) in [(299, false), (300, true), (301, true)] {
        assert_eq!(wrong(&|config| config.jwks_stale_max_secs = secs).is_empty(), good, "jwks_stale_max_secs {secs}");
    }
    assert_eq!(wrong(&|config| (config.jwks_refetch_min_secs, config.failures_max) = (1, 1)), "");
    assert_eq!(wrong(&|config| config.jwks_refetch_min_secs = 0), "jwks_refetch_min_secs");
    assert_eq!(wrong(&|config| config.failures_max = 0), "failures_max");
}

#[tokio::test]
async fn a_verifier_tells_whose_tokens_it_takes() {
    let world = World::with(&Issuer::ed25519("k1"));
    let told = format!("{:?}", world.verifier);
    assert!(told.starts_with("Verifier") && told.contains("http://issuer.test"), "{told}");
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let issuer = Issuer::es256("k1");
    let world = World::with(&issuer);
    let good = issuer.token(&world);
    world.verifier.verify(&good).await.unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        assert!(world.verifier.verify(&bad).await.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn a_remembered_signature_is_all_that_is_remembered() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let token = issuer.token(&world);
    world.verifier.verify(&token).await.unwrap();
    world.verifier.verify(&token).await.unwrap();
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 1);

    world.revocations.revoke("jti-1");
    assert_eq!(refused(world.verifier.verify(&token).await), "revoked");
    world.revocations.pardon("jti-1");
    world.revocations.down.store(true, Ordering::SeqCst);
    let error = world.verifier.verify(&token).await.unwrap_err();
    assert_eq!(error, AuthError::Unavailable { what: "the list of revocations" });
    world.revocations.down.store(false, Ordering::SeqCst);
    world.verifier.verify(&token).await.unwrap();

    world.clock.advance(Duration::from_secs(604));
    world.verifier.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(refused(world.verifier.verify(&token).await), "expired");
}

#[tokio::test]
async fn a_revoked_session_takes_all_its_tokens_with_it() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let token = |jti: &str, more: serde_json::Value| {
        let mut claims = more;
        claims["jti"] = jti.into();
        issuer.token_with(&world, &json!({}), &claims)
    };
    let of_session = [token("a", json!({"sid": "s-1"})), token("b", json!({"sid": "s-1"}))];
    let others = [token("c", json!({"sid": "s-2"})), token("d", json!({}))];
    for token in of_session.iter().chain(&others) {
        world.verifier.verify(token).await.unwrap();
    }
    world.revocations.revoke(&session_name("s-1"));
    for token in &of_session {
        assert_eq!(refused(world.verifier.verify(token).await), "revoked", "also where its signature is remembered");
    }
    for token in &others {
        world.verifier.verify(token).await.unwrap();
    }
    assert_eq!(world.verifier.verify(&others[0]).await.unwrap().sid.as_deref(), Some("s-2"));
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_prolongs_no_wait_of_the_verifier() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    for _ in 0..50 {
        assert_eq!(refused(world.verifier.verify_from(address, "x.y.z").await), "malformed");
    }
    world.clock.step_back(Duration::from_hours(1));
    let token = issuer.token(&world);
    assert!(matches!(world.verifier.verify_from(address, &token).await, Err(AuthError::Throttled { .. })));
    tokio::time::advance(Duration::from_secs(10)).await;
    world.clock.advance(Duration::from_secs(10));
    world.verifier.verify_from(address, &token).await.unwrap();
    // A new key is asked for, and the old ones are refreshed, when their time has come by the monotonic clock.
    let new = Issuer::ed25519("k2");
    world.source.publish(&[&issuer, &new]);
    world.verifier.verify(&new.token(&world)).await.unwrap();
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_key_that_is_taken_away_takes_its_tokens_with_it() {
    let (old, new) = (Issuer::ed25519("old"), Issuer::ed25519("new"));
    let world = World::with(&old);
    let token = old.token(&world);
    world.verifier.verify(&token).await.unwrap();

    // A new key is learnt from the first token that names it, and the old one's tokens stay remembered.
    world.source.publish(&[&old, &new]);
    world.clock.advance(Duration::from_secs(6));
    world.verifier.verify(&new.token(&world)).await.unwrap();
    world.verifier.verify(&token).await.unwrap();
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 2);

    // The old key goes; an unknown kid makes us look, and the remembered signature no longer counts.
    world.source.publish(&[&new]);
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(refused(world.verifier.verify(&Issuer::ed25519("other").token(&world)).await), "unknown_key");
    assert_eq!(refused(world.verifier.verify(&token).await), "unknown_key");
    world.verifier.verify(&new.token(&world)).await.unwrap();
}

#[tokio::test]
async fn another_key_under_the_same_kid_empties_the_memory_too() {
    let (old, new) = (Issuer::ed25519("k1"), Issuer::ed25519("k1"));
    let world = World::with(&old);
    let token = old.token(&world);
    world.verifier.verify(&token).await.unwrap();
    world.source.publish(&[&new]);
    world.clock.advance(Duration::from_secs(6));
    let _ = world.verifier.verify(&Issuer::ed25519("k2").token(&world)).await;
    assert_eq!(refused(world.verifier.verify(&token).await), "signature");
}

#[tokio::test]
async fn made_up_kids_cannot_make_us_hammer_the_issuer() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    world.clock.advance(Duration::from_secs(6));
    for n in 0..50 {
        let token = Issuer::ed25519(&format!("made-up-{n}")).token(&world);
        assert_eq!(refused(world.verifier.verify(&token).await), "unknown_key");
    }
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_crowd_at_the_start_fetches_once() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let calls = (0..32).map(|n| {
        let (verifier, token) =
            (world.verifier.clone(), issuer.token_with(&world, &json!({}), &json!({"jti": format!("j{n}")})));
        tokio::spawn(async move { verifier.verify(&token).await.is_ok() })
    });
    let all = futures::future::join_all(calls).await;
    assert!(all.into_iter().all(Result::unwrap));
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_any_keys_the_answer_is_later_not_no() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    world.source.down.store(true, Ordering::SeqCst);
    let token = issuer.token(&world);
    let unavailable = AuthError::Unavailable { what: "the issuer's keys" };
    for _ in 0..10 {
        assert_eq!(world.verifier.verify(&token).await.unwrap_err(), unavailable);
    }
    assert_eq!(world.source.fetches.load(Ordering::SeqCst), 1);
    // A foreign token needs no keys to be refused.
    let foreign = issuer.token_with(&world, &json!({}), &json!({"iss": "x"}));
    assert_eq!(refused(world.verifier.verify(&foreign).await), "issuer");
    world.source.down.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(5));
    world.verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn keys_outlive_the_issuer_for_a_while_but_not_for_ever() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    world.source.down.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_mins(50));
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    // An unknown `kid` may be new: it cannot be decided.
    let unavailable = AuthError::Unavailable { what: "the issuer's keys" };
    assert_eq!(world.verifier.verify(&Issuer::ed25519("k2").token(&world)).await.unwrap_err(), unavailable);
    world.clock.advance(Duration::from_secs(601));
    let token = issuer.token(&world);
    assert_eq!(world.verifier.verify(&token).await.unwrap_err(), unavailable);
    world.source.down.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(5));
    world.verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn old_keys_are_refreshed_beside_the_requests() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let token = issuer.token(&world);
    world.verifier.verify(&token).await.unwrap();
    world.clock.advance(Duration::from_secs(301));
    world.source.hold();
    // The issuer hangs, and no caller waits for it.
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    world.source.release();
    world.source.fetched(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_address_is_refused_before_verification() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let (bad, good): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    for _ in 0..50 {
        assert_eq!(refused(world.verifier.verify_from(bad, "x.y.z").await), "malformed");
    }
    let token = issuer.token(&world);
    let wait = match world.verifier.verify_from(bad, &token).await {
        Err(AuthError::Throttled { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    world.verifier.verify_from(good, &issuer.token(&world)).await.unwrap();
    world.verifier.verify(&issuer.token(&world)).await.unwrap();
    tokio::time::advance(wait).await;
    world.verifier.verify_from(bad, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn forged_tokens_are_throttled_before_their_signature() {
    let (issuer, forger) = (Issuer::es256("k1"), Issuer::es256("k1"));
    let world = World::with(&issuer);
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    let known = issuer.token(&world);
    world.verifier.verify_from(address, &known).await.unwrap();
    let mut refusals = std::collections::BTreeMap::<&str, u32>::new();
    for n in 0..500_u128 {
        // All of one /64, as a forger has.
        let from = IpAddr::V6(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) + n));
        let said = match world.verifier.verify_from(from, &forger.token(&world)).await {
            Err(AuthError::Invalid(InvalidToken::Signature)) => "signature",
            Err(AuthError::Throttled { .. }) => "throttled",
            other => panic!("{other:?}"),
        };
        *refusals.entry(said).or_default() += 1;
    }
    assert_eq!(refusals.into_iter().collect::<Vec<_>>(), [("signature", 50), ("throttled", 450)]);

    // A caller that has shown a good token from there is not held back, remembered or not.
    world.verifier.verify_from(address, &known).await.unwrap();
    world.clock.advance(Duration::from_secs(61));
    world.verifier.verify_from(address, &known).await.unwrap();
    // Another caller gets in when the next failure is forgotten.
    let unknown = issuer.token(&world);
    assert!(matches!(world.verifier.verify_from(address, &unknown).await, Err(AuthError::Throttled { .. })));
    tokio::time::advance(Duration::from_millis(200)).await;
    world.verifier.verify_from(address, &unknown).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn expired_and_revoked_tokens_are_no_attack() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let old = issuer.token(&world);
    world.clock.advance(Duration::from_hours(2));
    for _ in 0..100 {
        assert_eq!(refused(world.verifier.verify_from(address, &old).await), "expired");
    }
    let revoked = issuer.token(&world);
    world.revocations.revoke("jti-1");
    for _ in 0..100 {
        assert_eq!(refused(world.verifier.verify_from(address, &revoked).await), "revoked");
    }
    world.revocations.pardon("jti-1");
    let unknown = issuer.token_with(&world, &json!({}), &json!({"jti": "jti-2"}));
    world.verifier.verify_from(address, &unknown).await.unwrap();
}

#[tokio::test]
async fn keys_come_over_http_and_nonsense_does_not_replace_them() {
    use axum::{Router, routing::get};
    let issuer = Issuer::es256("k1");
    let document = serde_json::to_string(&Jwks { keys: vec![issuer.jwk()] }).unwrap();
    let app = Router::new()
        .route("/jwks", get(|| async move { document }))
        .route("/huge", get(|| async { "x".repeat(300 * 1024) }))
        .route("/html", get(|| async { "<html>" }))
        .route("/moved", get(|| async { axum::response::Redirect::temporary("/jwks") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = service_kit::shutdown::Shutdown::new();
    tokio::spawn(service_kit::http::serve(listener, app, shutdown.clone()));
    let fetch = async |path: &str| HttpKeys::new(format!("{base}{path}")).unwrap().fetch().await;
    assert_eq!(fetch("/jwks").await.unwrap().keys, [issuer.jwk()]);
    for (path, reason) in
        [("/huge", "too large"), ("/html", "not a key set"), ("/moved", "not a key set"), ("/none", "404")]
    {
        let error = fetch(path).await.unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains(&base), "{path}: {error}");
    }
    shutdown.trigger();
    assert!(HttpKeys::new("http://127.0.0.1:1/jwks").unwrap().fetch().await.is_err());
}
