//! Who gets in, and how the others are told.

use serde_json::{Value, json};

use crate::support::{Issuer, World};

#[tokio::test]
async fn no_token_a_bad_one_or_one_for_something_else() {
    let world = World::start().await;
    let client = World::client();
    let good = world.token("orders:read orders:write items:read");
    let mut tampered = good.clone();
    // The first character of the signature: the last one may carry unused bits.
    let at = tampered.rfind('.').unwrap() + 1;
    let other = if &tampered[at..=at] == "A" { "B" } else { "A" };
    tampered.replace_range(at..=at, other);
    let unauthenticated = r#"Bearer realm="amends""#;
    let invalid = r#"error="invalid_token""#;
    let rows = [
        ("none", None, 401, "unauthenticated", unauthenticated),
        ("other scheme", Some("Basic YTpi".to_owned()), 401, "unauthenticated", unauthenticated),
        ("malformed", Some("Bearer x".to_owned()), 401, "invalid_token", invalid),
        ("tampered", Some(format!("Bearer {tampered}")), 401, "invalid_token", invalid),
        (
            "foreign",
            Some(format!("Bearer {}", Issuer::new().token("ann", "orders:read"))),
            401,
            "invalid_token",
            invalid,
        ),
        ("expired", Some(expired(&world)), 401, "invalid_token", invalid),
        ("other audience", Some(claiming(&world, &json!({"aud": "shop"}))), 401, "invalid_token", invalid),
        ("other issuer", Some(claiming(&world, &json!({"iss": "http://x"}))), 401, "invalid_token", invalid),
        (
            "no scope",
            Some(format!("Bearer {}", world.token("items:read"))),
            403,
            "insufficient_scope",
            r#"scope="orders:read""#,
        ),
        ("good", Some(format!("Bearer {good}")), 200, "", ""),
        ("admin", Some(format!("Bearer {}", world.token("orders:admin"))), 200, "", ""),
    ];
    for (name, authorization, status, code, challenge) in rows {
        let mut request = client.get(world.url("/v1/orders"));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
        if status == 200 {
            continue;
        }
        let shown = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(shown.starts_with("Bearer ") && shown.contains(challenge), "{name}: {shown}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{name}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{name}");
        assert_eq!(problem["status"], status, "{name}");
        assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{name}: {problem}");
    }
}

#[tokio::test]
async fn each_route_asks_for_its_own_scope() {
    let world = World::start().await;
    let client = World::client();
    let rows = [
        ("GET", "/v1/orders", "orders:read", 200),
        ("GET", "/v1/orders", "orders:write", 403),
        ("POST", "/v1/orders", "orders:write", 200),
        ("POST", "/v1/orders", "orders:read", 403),
        ("POST", "/v1/orders", "orders:admin", 403),
        ("POST", "/v1/orders/1/cancel", "orders:write", 200),
        ("POST", "/v1/orders/1/cancel", "orders:read", 403),
        ("DELETE", "/v1/orders/1", "orders:read", 403),
        ("GET", "/v1/orders/1/saga", "orders:read", 200),
        ("GET", "/v1/items", "items:read", 200),
        ("GET", "/v1/items/a", "orders:read", 403),
        ("GET", "/v1/else", "items:read", 200),
    ];
    for (method, path, scope, status) in rows {
        let request = client.request(method.parse().unwrap(), world.url(path)).bearer_auth(world.token(scope));
        assert_eq!(request.send().await.unwrap().status(), status, "{method} {path} with {scope}");
    }
}

#[tokio::test]
async fn without_the_issuers_keys_every_token_is_refused() {
    let nowhere = crate::support::free_address().await;
    let world = World::with(|config| config.auth.jwks_url = format!("http://{nowhere}/jwks.json")).await;
    let answer =
        World::client().get(world.url("/v1/orders")).bearer_auth(world.token("orders:read")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "dependency_unavailable");
}

fn expired(world: &World) -> String {
    claiming(world, &json!({"iat": 1_000_000_000, "exp": 1_000_000_600}))
}

fn claiming(world: &World, claims: &Value) -> String {
    format!("Bearer {}", world.issuer.token_with("ann", "orders:read", claims))
}
