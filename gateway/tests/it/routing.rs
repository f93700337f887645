//! Where requests go, and what of them arrives there.

use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn requests_reach_the_service_they_are_for() {
    let world = World::start().await;
    let token = world.token("orders:read orders:write items:read");
    for client in [World::client(), World::client_h2()] {
        for (method, path, who) in [
            ("GET", "/v1/orders?limit=2&cursor=a%2Fb", "orders"),
            ("POST", "/v1/orders", "orders"),
            ("GET", "/v1/items/caf%C3%A9", "orders"),
            ("POST", "/auth/login", "identity"),
            ("POST", "/oauth2/token", "identity"),
            ("GET", "/.well-known/oauth-authorization-server", "identity"),
        ] {
            let request = client.request(method.parse().unwrap(), world.url(path));
            let request = if who == "orders" { request.bearer_auth(&token) } else { request };
            let answer = request.body("{}").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{method} {path}");
            let seen: Value = answer.json().await.unwrap();
            assert_eq!((&seen["who"], &seen["method"], &seen["target"]), (&who.into(), &method.into(), &path.into()));
            assert_eq!(seen["body"], "{}", "{method} {path}");
        }
        let answer = client.get(world.url("/nowhere")).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "not_found");
        let answer = client.post(world.url("/healthz")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
        let answer = client.post(world.url("/amends.orders.v1.OrderService/GetOrder")).send().await.unwrap();
        assert_eq!(answer.status(), 415);
        let answer = client.get(world.url("/v1/%2e%2e/x")).send().await.unwrap();
        assert!([400, 404].contains(&answer.status().as_u16()), "clients may normalise this themselves");
    }
}

#[tokio::test]
async fn its_own_health_needs_no_token() {
    let world = World::start().await;
    for client in [World::client(), World::client_h2()] {
        assert_eq!(
            client.get(world.url("/healthz")).send().await.unwrap().json::<Value>().await.unwrap(),
            json!({"status": "ok"})
        );
        assert_eq!(
            client.get(world.url("/readyz")).send().await.unwrap().json::<Value>().await.unwrap(),
            json!({"status": "ready"})
        );
        let answer = client.head(world.url("/healthz")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, 0));
    }
}

#[tokio::test]
async fn what_claims_an_identity_is_taken_off_on_every_path() {
    let world = World::start().await;
    let token = world.token("orders:read");
    let outside = [
        "x-user-id",
        "x-user-scopes",
        "x-client-id",
        "x-amends-subject",
        "x-forwarded-user",
        "x-forwarded-host",
        "x_user_id",
        "x-real-ip",
        "forwarded",
        "proxy-authorization",
        "keep-alive",
        "x-http-method-override",
        "x-nominated",
    ];
    for client in [World::client(), World::client_h2()] {
        for path in ["/v1/orders", "/auth/login", "/oauth2/introspect", "/.well-known/x"] {
            let mut request = client
                .get(world.url(path))
                .bearer_auth(&token)
                .header("x-forwarded-for", "203.0.113.7")
                .header("prefer", "wait=1");
            for name in outside {
                request = request.header(name, "admin");
            }
            let seen: Value = request.send().await.unwrap().json().await.unwrap();
            let headers = seen["headers"].as_object().unwrap();
            for name in outside {
                // Not nominated by a Connection header here, so it is an end-to-end header like any other.
                assert_eq!(headers.contains_key(name), name == "x-nominated", "{path} {name}: {seen}");
            }
            assert_eq!(headers["x-forwarded-for"], json!(["127.0.0.1"]), "{path}");
            assert_eq!(headers["x-forwarded-proto"], json!(["http"]), "{path}");
            assert_eq!(headers["authorization"], json!([format!("Bearer {token}")]), "{path}");
            assert_eq!(headers["prefer"], json!(["wait=1"]), "{path}");
            assert_ne!(
                headers["host"],
                json!([world.address.to_string()]),
                "{path}: the caller's Host goes no further"
            );
        }
    }
    let request = format!(
        "GET /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nConnection: close, X-Nominated\r\nX-Nominated: 1\r\nTE: trailers\r\nUpgrade: websocket\r\n\r\n"
    );
    let (status, _, seen) = crate::support::parse(&world.raw(request).await);
    assert_eq!(status, 200);
    for name in ["x-nominated", "te", "upgrade"] {
        assert_eq!(seen["headers"].get(name), None, "{seen}");
    }
}

#[tokio::test]
async fn correlation_and_trace_are_continued_or_begun() {
    let world = World::start().await;
    let token = world.token("orders:read");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = World::client().get(world.url("/v1/orders")).bearer_auth(&token);
    let answer = request.header("x-correlation-id", "mine-1").header("traceparent", parent).send().await.unwrap();
    assert_eq!(answer.headers()["x-correlation-id"], "mine-1");
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(seen["headers"]["x-correlation-id"], json!(["mine-1"]));
    let sent = seen["headers"]["traceparent"][0].as_str().unwrap();
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");

    for bad in ["", "has space", &"x".repeat(129)] {
        let request = World::client().get(world.url("/v1/orders")).bearer_auth(&token);
        let answer = request.header("x-correlation-id", bad).header("traceparent", "nonsense").send().await.unwrap();
        let made = answer.headers()["x-correlation-id"].to_str().unwrap().to_owned();
        assert_eq!(made.len(), 36, "{bad:?} became {made}");
        let seen: Value = answer.json().await.unwrap();
        assert_eq!(seen["headers"]["x-correlation-id"], json!([made]));
        assert_eq!(seen["headers"]["traceparent"][0].as_str().map(str::len), Some(55));
    }
    let refused =
        World::client().get(world.url("/v1/orders")).header("x-correlation-id", "mine-2").header("traceparent", parent);
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.headers()["x-correlation-id"], "mine-2");
    assert_eq!(refused.json::<Value>().await.unwrap()["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn every_request_is_counted_by_route() {
    let world = World::start().await;
    let token = world.token("orders:read");
    for id in 0..3 {
        World::client().get(world.url(&format!("/v1/orders/{id}"))).bearer_auth(&token).send().await.unwrap();
    }
    World::client().get(world.url("/v1/orders")).send().await.unwrap();
    let count =
        |labels: &[&str]| world.metric("http_server_request_duration_seconds_count{service=\"gateway\"", labels);
    assert_eq!(count(&[r#"http_route="/v1/orders/{id}""#, r#"code="200""#]), Some(3.0));
    assert_eq!(count(&[r#"http_route="/v1/orders""#, r#"code="401""#]), Some(1.0));
    let upstream = world.metric("http_client_request_duration_seconds_count", &["order-service", r#"code="200""#]);
    assert_eq!(upstream, Some(3.0));
    assert_eq!(world.metric("gateway_refusals_total", &["unauthenticated"]), Some(1.0));
}
