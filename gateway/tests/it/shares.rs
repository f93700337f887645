//! One caller does not take from the others: permits for requests, and connections.

use axum::{Router, http::StatusCode, routing::get};
use serde_json::Value;

use crate::support::{Raw, World, parse, serve_http, until};

const OTHER: [u8; 4] = [127, 0, 0, 2];

async fn slow_request(world: &World, token: &str) -> Raw {
    let mut connection = world.connect().await;
    connection.send(format!("GET /v1/orders/slow HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    connection
}

#[tokio::test]
async fn a_subject_has_a_share_of_the_places() {
    let world = World::with(|config| {
        config.limits.requests = 8;
        config.limits.requests_per_subject = 2;
    })
    .await;
    let ann = world.issuer.token("ann", "orders:read");
    let slow = (slow_request(&world, &ann).await, slow_request(&world, &ann).await);
    world.until_held("requests", 2).await;
    let ask = |subject: &'static str| {
        let token = world.issuer.token(subject, "orders:read");
        World::client().get(world.url("/v1/orders")).bearer_auth(token).send()
    };
    let refused = ask("ann").await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(ask("bob").await.unwrap().status(), 200, "others have theirs");
    drop(slow);
}

#[tokio::test]
async fn an_address_has_a_share_of_the_places() {
    let identity = Router::new()
        .route("/auth/slow", get(std::future::pending::<StatusCode>))
        .fallback(|| std::future::ready("here"));
    let identity = serve_http(identity).await.to_string();
    let world = World::with(|config| {
        config.limits.requests = 8;
        config.limits.requests_per_address = 2;
        config.upstreams.identity = identity;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send("GET /auth/slow HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        slow.push(connection);
    }
    let ask = "GET /auth/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n";
    world.until_held("requests", 2).await;
    assert_eq!(parse(&world.raw(ask).await).0, 429);
    let mut other = world.connect_from(OTHER).await;
    other.send(ask).await;
    assert_eq!(parse(&other.read_to_end().await).0, 200, "another address has a share of its own");
    let token = world.token("orders:read");
    let answer = World::client().get(world.url("/v1/orders")).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 200, "who has a token is counted by it, wherever they are");
}

const HEALTHY: &str = "GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n";

#[tokio::test]
async fn of_an_address_with_too_many_connections_the_idlest_is_closed() {
    let world = World::with(|config| config.limits.connections_per_address = 3).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut connection = world.connect().await;
        connection.send(HEALTHY).await;
        assert_eq!(parse(&connection.read_answer().await).0, 200);
        idle.push(connection);
    }
    for round in 0..2 {
        let mut newcomer = world.connect().await;
        newcomer.send(HEALTHY).await;
        assert_eq!(parse(&newcomer.read_answer().await).0, 200, "{round}");
        assert_eq!(idle.remove(0).read_to_end().await, "", "the one that was idle longest is closed");
        idle.push(newcomer);
    }
    for connection in &mut idle {
        connection.send(HEALTHY).await;
        assert_eq!(parse(&connection.read_answer().await).0, 200, "the others stay");
    }
}

#[tokio::test]
async fn idle_http2_connections_give_way_too() {
    let world = World::with(|config| config.limits.connections_per_address = 1).await;
    let token = world.token("orders:read");
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = World::client_h2();
        let answer = client.get(world.url("/v1/orders")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer.bytes().await.unwrap());
        // Each keeps its connection open; the next one takes the place.
        clients.push(client);
    }
    until(async || world.metric("gateway_connections", &[]) == Some(1.0)).await;
}

#[tokio::test]
async fn an_http2_connection_that_ignores_goaway_is_cut() {
    let world = World::with(|config| config.limits.connections_per_address = 1).await;
    let mut silent = world.connect().await;
    // The preface, empty SETTINGS, and from then on nothing, not even an answer to a PING.
    silent.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    until(async || world.metric("gateway_connections", &[]) == Some(1.0)).await;
    let mut newcomer = world.connect().await;
    newcomer.send(HEALTHY).await;
    assert_eq!(parse(&newcomer.read_answer().await).0, 200);
    assert!(!silent.read_to_end().await.is_empty());
    until(async || world.metric("gateway_connections", &[]) == Some(1.0)).await;
}

#[tokio::test]
async fn busy_connections_stay_and_another_address_gets_in() {
    let world = World::with(|config| config.limits.connections_per_address = 2).await;
    let token = world.token("orders:read");
    let _busy = (slow_request(&world, &token).await, slow_request(&world, &token).await);
    world.until_held("requests", 2).await;
    let (status, headers, problem) = parse(&world.raw(HEALTHY).await);
    assert_eq!((status, headers["retry-after"].as_str(), &problem["code"]), (503, "1", &"overloaded".into()));
    let mut other = world.connect_from(OTHER).await;
    other.send(HEALTHY).await;
    assert_eq!(parse(&other.read_answer().await).0, 200);
}

#[tokio::test]
async fn a_half_sent_request_gives_way_to_a_newcomer() {
    let world = World::with(|config| config.limits.connections_per_address = 1).await;
    let token = world.token("orders:write");
    let head = format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n");
    for begun in [head.clone(), format!("{head}Content-Length: 2\r\n\r\n{{")] {
        let mut half_sent = world.connect().await;
        half_sent.send(&begun).await;
        if begun.ends_with('{') {
            world.until_held("waiting_bytes", 1).await;
        }
        assert_eq!(parse(&world.raw(HEALTHY.replace("gw", "gw\r\nConnection: close")).await).0, 200);
        let answer = half_sent.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

#[tokio::test]
async fn an_idle_flood_from_one_address_does_not_fill_the_house() {
    let world = World::with(|config| {
        config.limits.connections = 6;
        config.limits.connections_per_address = 6;
    })
    .await;
    let mut flood = Vec::new();
    for _ in 0..6 {
        let mut connection = world.connect().await;
        connection.send(HEALTHY).await;
        assert_eq!(parse(&connection.read_answer().await).0, 200);
        flood.push(connection);
    }
    for _ in 0..2 {
        let mut other = world.connect_from(OTHER).await;
        other.send(HEALTHY).await;
        assert_eq!(parse(&other.read_answer().await).0, 200);
        flood.push(other);
    }
    assert_eq!(flood.remove(0).read_to_end().await, "");
}
