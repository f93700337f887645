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
async fn a_request_on_a_kept_connection_is_answered_while_closing() {
    let mut world = World::start().await;
    let mut kept = world.connect().await;
    let request = "GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n";
    kept.send(request).await;
    assert_eq!(parse(&kept.read_answer().await).1["connection"], "keep-alive");
    world.runtime.shutdown.trigger();
    // As when it was on its way already.
    kept.send(request).await;
    let (status, headers, _) = parse(&kept.read_answer().await);
    assert_eq!((status, headers["connection"].as_str()), (200, "close"));
    assert_eq!(kept.read_to_end().await, "");
    let running = world.running.take().unwrap();
    tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn endless_streams_and_quiet_callers_do_not_hold_the_end() {
    use amends_protos::orders::v1::{WatchOrderRequest, order_service_client::OrderServiceClient};
    // Would be cut after an hour only.
    let mut world = World::with(|config| config.timeouts.drain_ms = 3_600_000).await;
    let mut client = OrderServiceClient::connect(format!("http://{}", world.address)).await.unwrap();
    let mut request = tonic::Request::new(WatchOrderRequest { order_id: "endless".to_owned() });
    let bearer = format!("Bearer {}", world.token("orders:read"));
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let mut watching = client.watch_order(request).await.unwrap().into_inner();
    assert!(watching.message().await.unwrap().is_some());
    let mut half = world.connect().await;
    half.send("GET /healthz HTTP/1.1\r\n").await;
    let mut deaf = world.connect().await;
    deaf.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await;
    World::client().get(world.url("/healthz")).send().await.unwrap();

    world.runtime.shutdown.trigger();
    let running = world.running.take().unwrap();
    tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap();
    assert!(watching.message().await.is_err(), "and its caller learns that it was cut");
}

#[tokio::test]
async fn more_requests_than_places_are_turned_away() {
    let world = World::with(|config| config.limits.requests = 1).await;
    let token = world.token("orders:read");
    let mut slow = world.connect().await;
    slow.send(format!("GET /v1/orders/slow HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    // The first request takes its permit in its own time; from then until it ends, no other request gets one.
    let refused = async {
        loop {
            let answer = World::client().get(world.url("/v1/orders")).bearer_auth(&token).send().await.unwrap();
            if answer.status() == 503 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, refused).await.expect("nobody is turned away");
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "overloaded");
    assert_eq!(World::client().get(world.url("/healthz")).send().await.unwrap().status(), 200);
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

#[tokio::test]
async fn tls_speaks_both_versions_and_lets_the_silent_go() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let world = World::with(|config| {
        config.tls = Some(gateway::config::Tls { certificate, key });
        config.timeouts.head_ms = 1_000;
    })
    .await;
    let token = world.token("orders:read");
    let url = format!("https://localhost:{}/v1/orders", world.address.port());
    for (is_h1, version) in [(false, reqwest::Version::HTTP_2), (true, reqwest::Version::HTTP_11)] {
        let client = service_base::client::internal().danger_accept_invalid_certs(true);
        let client = if is_h1 { client.http1_only() } else { client };
        let answer = client.build().unwrap().get(&url).bearer_auth(&token).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        let seen: Value = answer.json().await.unwrap();
        assert_eq!(seen["headers"]["x-forwarded-proto"], serde_json::json!(["https"]));
    }
    let mut silent = world.connect().await;
    assert_eq!(silent.read_to_end().await, "");

    let mut config = world.config.clone();
    config.tls.as_mut().unwrap().key = folder.path().join("missing.pem");
    let error = gateway::build(config, &world.runtime).await.unwrap_err();
    assert!(error.to_string().contains("gateway.tls.key"), "{error:#}");
}

#[tokio::test]
async fn gateway_with_threads_of_its_own_serves_and_stops() {
    let mut world = World::with(|config| config.threads = 2).await;
    let answer = World::client().get(world.url("/v1/orders")).bearer_auth(world.token("orders:read")).send();
    assert_eq!(answer.await.unwrap().status(), 200);
    world.runtime.shutdown.trigger();
    let running = world.running.take().unwrap();
    tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn gateway_that_is_given_up_takes_its_threads_along() {
    let mut world = World::with(|config| config.threads = 1).await;
    let mut kept = world.connect().await;
    kept.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    kept.read_answer().await;
    let running = world.running.take().unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(kept.read_to_end().await, "");
}
