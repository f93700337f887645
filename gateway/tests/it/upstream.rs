//! Services behind the gateway that are down, slow, or die half-way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{World, free_address, orders, serve_http_at};

#[tokio::test]
async fn down_is_503_until_it_is_back() {
    let address = free_address().await;
    let world = World::with(|config| config.upstreams.order_http = address.to_string()).await;
    let get = || World::client().get(world.url("/v1/orders")).bearer_auth(world.token("orders:read")).send();
    let began = Instant::now();
    let answer = get().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "dependency_unavailable");
    assert!(!problem.to_string().contains(&address.to_string()), "{problem}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(world.metric("http_client_request_duration_seconds_count", &["unreachable"]), Some(1.0));

    serve_http_at(address, orders()).await;
    assert_eq!(get().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_503() {
    let world = World::with(|config| config.upstreams.order_http = "orders.invalid:1".to_owned()).await;
    let answer =
        World::client().get(world.url("/v1/orders")).bearer_auth(world.token("orders:read")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_name_that_resolves_is_used() {
    let world = World::with(|config| {
        config.upstreams.order_http = config.upstreams.order_http.replace("127.0.0.1", "localhost");
    })
    .await;
    let answer =
        World::client().get(world.url("/v1/orders")).bearer_auth(world.token("orders:read")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn slow_is_504_within_the_bound() {
    let world = World::with(|config| config.timeouts.answer_ms = 300).await;
    let began = Instant::now();
    let request = World::client().get(world.url("/v1/orders/slow")).bearer_auth(world.token("orders:read"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "timeout");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_a_service_answers_is_passed_on_as_it_is() {
    let world = World::start().await;
    let request = World::client().get(world.url("/v1/orders/broken")).bearer_auth(world.token("orders:read"));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (500, "oops"));
}

/// Answers the first request of each connection and hangs up at the second, without a word: a replica going away under a kept
/// connection. Counts requests.
async fn hangs_up() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                for n in 0..2 {
                    let read = socket.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    if n == 0 {
                        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn only_what_may_happen_twice_is_sent_again() {
    for (method, key, status, requests) in [("GET", None, 200, 3), ("POST", Some("k"), 200, 3), ("POST", None, 502, 2)]
    {
        let (address, seen) = hangs_up().await;
        let world = World::with(|config| config.upstreams.order_http = address.to_string()).await;
        let token = world.token("orders:read orders:write");
        let send = || {
            let mut request =
                World::client().request(method.parse().unwrap(), world.url("/v1/orders")).bearer_auth(&token);
            if method == "POST" {
                request = request.body("{}");
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            request.send()
        };
        assert_eq!(send().await.unwrap().status(), 200);
        let answer = send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {key:?}");
        if status == 502 {
            assert!(answer.headers().contains_key("retry-after"));
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "bad_gateway");
        }
        assert_eq!(seen.load(Ordering::SeqCst), requests, "{method} {key:?}");
    }
}

/// Reads the first request of each of its first connections and hangs up without a word, as a replica does that is killed; answers on the
/// next ones. Listens for `connections` connections.
async fn dies(times: u32, connections: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0..connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            let _ = socket.read(&mut buffer).await;
            if number >= times {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn what_a_dying_replica_did_not_answer_is_asked_again() {
    // The last: the listener is gone, and whether the first was received is still not known.
    for (path, key, connections, status) in [
        ("/v1/orders", Some("k"), 2, 200),
        ("/v1/orders/1/cancel", None, 2, 200),
        ("/v1/orders", None, 2, 502),
        ("/v1/orders", Some("k"), 1, 502),
    ] {
        let address = dies(1, connections).await;
        let world = World::with(|config| config.upstreams.order_http = address.to_string()).await;
        let mut request = World::client().post(world.url(path)).bearer_auth(world.token("orders:write")).body("{}");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{path} {key:?} {connections}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_again_where_a_kept_connection_closed() {
    let (address, seen) = hangs_up().await;
    let world = World::with(|config| config.upstreams.identity = address.to_string()).await;
    for _ in 0..2 {
        let request = World::client().post(world.url("/auth/login")).body("{}");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}
