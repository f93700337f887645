//! Bodies that arrive slowly, or never: what they hold, and for how long.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, body::Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{PATIENCE, World, orders, parse, serve_http};

type Parts = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;
type Body = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

/// An HTTP/2 connection whose requests have bodies that come piece by piece.
struct Http2(hyper::client::conn::http2::SendRequest<Body>);

/// A request whose body has not ended.
struct HalfSent {
    parts: Parts,
    answer: JoinHandle<(u16, Value)>,
}

impl Http2 {
    async fn connect(world: &World) -> Self {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a head and the first byte of its body.
    fn begin(&mut self, world: &World, token: &str) -> HalfSent {
        let (parts, body) = mpsc::channel(4);
        parts.try_send(Ok(Frame::data(Bytes::from_static(b"{")))).unwrap();
        let request = Request::post(world.url("/v1/orders"))
            .header("authorization", format!("Bearer {token}"))
            .body(StreamBody::new(ReceiverStream::new(body)))
            .unwrap();
        let answer = self.0.send_request(request);
        let answer = tokio::spawn(async move {
            let answer = answer.await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        });
        HalfSent { parts, answer }
    }
}

/// An order service that counts the requests it hears of.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let router = orders().layer(axum::middleware::map_request(move |request: axum::extract::Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(request)
    }));
    (serve_http(router).await.to_string(), count)
}

#[tokio::test]
async fn half_sent_http2_bodies_hold_no_place_and_no_upstream() {
    let (order_http, asked) = counting().await;
    let world = World::with(|config| {
        config.limits.requests = 4;
        config.upstreams.order_http = order_http;
    })
    .await;
    let ann = world.issuer.token("ann", "orders:write");
    let (mut one, mut two) = (Http2::connect(&world).await, Http2::connect(&world).await);
    let half: Vec<HalfSent> =
        (0..24).map(|n| if n % 2 == 0 { &mut one } else { &mut two }.begin(&world, &ann)).collect();
    world.until_held("waiting_bytes", half.len() * 4097).await;

    for subject in ["bob", "ann"] {
        let token = world.issuer.token(subject, "orders:write");
        let whole = World::client().post(world.url("/v1/orders")).bearer_auth(token).body("{}").send().await.unwrap();
        assert_eq!(whole.status(), 200, "{subject}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the half-sent requests went no further than the gateway");

    for HalfSent { parts, .. } in &half {
        parts.send(Ok(Frame::data(Bytes::from_static(b"}")))).await.unwrap();
    }
    let mut answers = Vec::new();
    for HalfSent { parts, answer } in half {
        drop(parts);
        answers.push(answer.await.unwrap());
        let (status, body) = answers.last().unwrap();
        assert!(*status == 200 && body["body"] == "{}", "{status} {body}");
    }
}

#[tokio::test]
async fn half_sent_http1_bodies_hold_no_place_and_no_upstream() {
    let (order_http, asked) = counting().await;
    let world = World::with(|config| {
        config.limits.requests = 2;
        config.upstreams.order_http = order_http;
    })
    .await;
    let ann = world.issuer.token("ann", "orders:write");
    let head = format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {ann}\r\n");
    let mut half = Vec::new();
    for n in 0..16 {
        let mut connection = world.connect().await;
        let begun =
            if n % 2 == 0 { "Content-Length: 2\r\n\r\n{" } else { "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" };
        connection.send(format!("{head}{begun}")).await;
        half.push(connection);
    }
    world.until_held("waiting_bytes", half.len() * 4097).await;
    let bob = world.issuer.token("bob", "orders:write");
    let whole = World::client().post(world.url("/v1/orders")).bearer_auth(bob).body("{}").send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for (n, connection) in half.iter_mut().enumerate() {
        connection.send(if n % 2 == 0 { "}" } else { "1\r\n}\r\n0\r\n\r\n" }).await;
        let (status, _, body) = parse(&connection.read_answer().await);
        assert_eq!((status, &body["body"]), (200, &"{}".into()), "{n}");
    }
}

#[tokio::test]
async fn one_caller_has_a_share_of_the_bodies_that_arrive() {
    // Room for 32 half-sent bodies of one caller, at 4 KiB each with what their requests cost.
    let world = World::with(|config| config.limits.waiting_bytes_per_caller = 128 * 1024).await;
    let ann = world.issuer.token("ann", "orders:write");
    let mut connection = Http2::connect(&world).await;
    let half: Vec<HalfSent> = (0..31).map(|_| connection.begin(&world, &ann)).collect();
    world.until_held("waiting_bytes", half.len() * 4097).await;
    let refused: Vec<HalfSent> = (0..4).map(|_| connection.begin(&world, &ann)).collect();
    for HalfSent { answer, parts } in refused {
        let (status, problem) = answer.await.unwrap();
        assert_eq!((status, &problem["code"]), (429, &"rate_limited".into()), "{problem}");
        drop(parts);
    }
    let head = format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {ann}\r\nConnection: close\r\n");
    let whole = world.raw(format!("{head}Content-Length: 2\r\n\r\n{{}}")).await;
    assert_eq!(parse(&whole).0, 200, "a body that comes with its head needs no share");
    let bob = world.issuer.token("bob", "orders:write");
    let mut theirs = connection.begin(&world, &bob);
    theirs.parts.send(Ok(Frame::data(Bytes::from_static(b"}")))).await.unwrap();
    theirs.parts = mpsc::channel(1).0;
    assert_eq!(theirs.answer.await.unwrap().0, 200);
    assert!(half.iter().all(|half| !half.answer.is_finished()));
}

fn hasty(config: &mut gateway::Config) {
    config.timeouts.body_ms = 300;
    config.timeouts.body_whole_ms = 900;
    config.limits.body_bytes_per_second = 10_000;
    config.limits.requests = 1;
}

#[tokio::test]
async fn a_trickling_http2_body_is_refused_with_408() {
    let world = World::with(hasty).await;
    let token = world.token("orders:write");
    let mut connection = Http2::connect(&world).await;
    let HalfSent { parts, answer } = connection.begin(&world, &token);
    let trickle = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while parts.send(Ok(Frame::data(Bytes::from_static(b" ")))).await.is_ok() {
            pace.tick().await;
        }
    });
    let (status, problem) = tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap();
    assert_eq!((status, &problem["code"]), (408, &"bad_request".into()));
    trickle.abort();
}

#[tokio::test]
async fn a_trickling_http1_body_is_refused_with_408() {
    let world = World::with(hasty).await;
    let token = world.token("orders:write");
    // Short enough to be read first; too long for that; and of no stated length.
    for framing in ["Content-Length: 5000", "Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let connection = world.connect().await;
        let (mut read, mut write) = connection.0.into_split();
        let head =
            format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n");
        let trickle = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            let part = if framing.starts_with("Transfer") { "1\r\n \r\n" } else { " " };
            if write.write_all(head.as_bytes()).await.is_ok() {
                while write.write_all(part.as_bytes()).await.is_ok() {
                    pace.tick().await;
                }
            }
        });
        let mut answer = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer);
        let _ = tokio::time::timeout(PATIENCE, read).await.expect("the connection stays open");
        let (status, _, problem) = parse(&String::from_utf8(answer).unwrap());
        assert_eq!((status, &problem["code"]), (408, &"bad_request".into()), "{framing}");
        trickle.abort();
    }
    // The one place there is was never taken, or given back.
    let whole = World::client().post(world.url("/v1/orders")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(whole.status(), 200);
}

#[tokio::test]
async fn long_bodies_wait_in_a_pool_of_their_own() {
    let world = World::with(|config| {
        config.limits.requests = 1;
        config.limits.long_bodies_per_caller = 2;
    })
    .await;
    let ann = world.issuer.token("ann", "orders:write");
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {ann}\r\nContent-Length: 100000\r\n\r\n"
    );
    let mut long = Vec::new();
    for _ in 0..2 {
        let mut connection = world.connect().await;
        connection.send(format!("{head}{}", " ".repeat(70_000))).await;
        long.push(connection);
    }
    world.until_held("long_bodies", long.len()).await;
    assert_eq!(parse(&world.raw(format!("{head}{}", " ".repeat(100_000))).await).0, 429);
    let bob = world.issuer.token("bob", "orders:write");
    let whole = World::client().post(world.url("/v1/orders")).bearer_auth(&bob).body("{}").send().await.unwrap();
    assert_eq!(whole.status(), 200);
    for connection in &mut long {
        connection.send(" ".repeat(30_000)).await;
        let (status, _, body) = parse(&connection.read_answer().await);
        assert_eq!((status, &body["body_bytes"]), (200, &100_000.into()));
    }
}

#[tokio::test]
async fn a_caller_that_waits_for_100_continue_gets_it() {
    let world = World::start().await;
    let token = world.token("orders:write");
    for (length, kind) in [(2, "Content-Length: 2"), (100_000, "Content-Length: 100000")] {
        let mut connection = world.connect().await;
        let head = format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{kind}\r\n");
        connection.send(format!("{head}Expect: 100-continue\r\n\r\n")).await;
        assert!(connection.read_answer().await.starts_with("HTTP/1.1 100 "), "{kind}");
        connection.send("x".repeat(length)).await;
        let (status, _, seen) = parse(&connection.read_answer().await);
        assert_eq!((status, &seen["body_bytes"]), (200, &length.into()), "{kind}");
        assert_eq!(seen["headers"]["expect"], Value::Null, "services need not meet it again");
    }
    // Refused by its head alone: the body need not come at all.
    let head = "POST /v1/orders HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut connection = world.connect().await;
    connection.send(head).await;
    assert_eq!(parse(&connection.read_answer().await).0, 401);
}

#[tokio::test]
async fn whatever_has_a_body_is_passed_on_whole() {
    let world = World::start().await;
    let token = world.token("orders:read orders:write");
    for client in [World::client(), World::client_h2()] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            for size in [0, 1, 20_000, 65_536, 65_537, 200_000] {
                let method = method.parse().unwrap();
                let request = client.request(method, world.url("/v1/orders")).bearer_auth(&token);
                let seen: Value = request.body("x".repeat(size)).send().await.unwrap().json().await.unwrap();
                assert_eq!(seen["body_bytes"], size, "{seen}");
            }
        }
        let head = client.head(world.url("/v1/orders")).bearer_auth(&token).body("x");
        assert_eq!(head.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn refused_request_keeps_its_connection_where_its_body_is_here() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    // Refused by its head alone, for want of a token.
    let head = "POST /v1/orders HTTP/1.1\r\nHost: gw\r\n";
    for framed in ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"] {
        connection.send(format!("{head}{framed}")).await;
        let (status, headers, _) = parse(&connection.read_answer().await);
        assert_eq!((status, headers["connection"].as_str()), (401, "keep-alive"), "{framed}");
    }
    connection.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(parse(&connection.read_answer().await).0, 200);
}

#[tokio::test]
async fn refused_request_whose_body_is_not_here_is_the_last() {
    let world = World::start().await;
    let head = "POST /v1/orders HTTP/1.1\r\nHost: gw\r\n";
    let large = format!("Content-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    for framed in ["Content-Length: 20\r\n\r\nGET /healthz", &large] {
        let (status, headers, _) = parse(&world.raw(format!("{head}{framed}")).await);
        assert_eq!((status, headers["connection"].as_str()), (401, "close"));
    }
}
