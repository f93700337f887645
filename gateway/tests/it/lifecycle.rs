//! Starting, stopping, and being full.

use std::time::Duration;

use serde_json::Value;

use crate::support::{PATIENCE, World, parse, serve_http};

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_the_key() {
    let world = World::start().await;
    let mut config = world.config.clone();
    config.listen = world.address;
    let error = gateway::build(config, &world.runtime).await.unwrap_err();
    assert!(error.to_string().contains("gateway.listen"), "{error:#}");
}

#[tokio::test]
async fn what_is_under_way_at_shutdown_is_answered() {
    let (release, released) = tokio::sync::watch::channel(false);
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(4);
    let slow = axum::Router::new().fallback(move || {
        let (mut released, arrived) = (released.clone(), arrived.clone());
        async move {
            arrived.send(()).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            "done"
        }
    });
    let upstream = serve_http(slow).await;
    let mut world = World::with(|config| config.upstreams.order_http = upstream.to_string()).await;
    let token = world.token("orders:read");
    let clients = [World::client(), World::client_h2()];
    let asked: Vec<_> = clients
        .iter()
        .map(|client| tokio::spawn(client.get(world.url("/v1/orders")).bearer_auth(&token).send()))
        .collect();
    let mut idle = world.connect().await;
    idle.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    idle.read_answer().await;
    for _ in &clients {
        arrivals.recv().await.unwrap();
    }

    world.runtime.shutdown.trigger();
    assert_eq!(idle.read_to_end().await, "", "an idle connection is closed at once");
    release.send(true).unwrap();
    for answer in asked {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "done"));
    }
    drop(clients);
    let running = world.running.take().unwrap();
    tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_end_is_cut_within_the_bound() {
    let mut world = World::with(|config| config.timeouts.drain_ms = 300).await;
    let token = world.token("orders:read");
    let mut connection = world.connect().await;
    connection.send(format!("GET /v1/orders/slow HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    // A second connection answers only after the first was accepted.
    World::client().get(world.url("/healthz")).send().await.unwrap();
    world.runtime.shutdown.trigger();
    let running = world.running.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it stops").unwrap().unwrap();
    assert_eq!(connection.read_to_end().await, "");
}

#[tokio::test]
async fn a_full_house_says_so() {
    let world = World::with(|config| config.limits.connections = 2).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await;
        assert_eq!(parse(&connection.read_answer().await).0, 200);
        inside.push(connection);
    }
    let (status, headers, problem) = parse(&world.raw("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await);
    assert_eq!((status, headers["retry-after"].as_str(), &problem["code"]), (503, "1", &Value::from("overloaded")));
    assert_eq!(world.metric("gateway_connections", &[]), Some(2.0));
}
