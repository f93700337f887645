//! A server that is badly treated: by callers, by its own handlers, and at its end.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::Version,
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::shutdown::Shutdown;

struct Served {
    url: String,
    address: std::net::SocketAddr,
    runtime: Runtime,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn with(router: Router, limits: Limits) -> Self {
        let runtime = Runtime::for_testing();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = app(router, "test-service", &runtime);
        let serving = tokio::spawn(serve_with(listener, router, limits, runtime.shutdown.clone()));
        Self { url: format!("http://{address}"), address, runtime, serving }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        client().get(format!("{}{path}", self.url)).send().await.unwrap()
    }
}

fn client() -> reqwest::Client {
    service_base::client::internal().build().unwrap()
}

async fn panics() -> &'static str {
    panic!("secret detail")
}

fn routes() -> Router {
    Router::new()
        .route("/items/{sku}", get(|| async { "an item" }))
        .route("/panic", get(panics))
        .route("/orders", post(|JsonBody(body): JsonBody<Value>| async move { body.to_string() }))
}

#[tokio::test]
async fn one_port_speaks_both_versions() {
    let served = Served::with(routes(), Limits::default()).await;
    let answer = served.get("/items/a").await;
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_11, 200));
    let h2 = service_base::client::internal().http2_prior_knowledge().build().unwrap();
    let answer = h2.get(format!("{}/items/b", served.url)).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
    let page = served.runtime.metrics.encode();
    let series = r#"http_server_request_duration_seconds_count{service="test-service",http_request_method="GET",http_route="/items/{sku}",http_response_status_code="200",error_type=""} 2"#;
    assert!(page.contains(series), "{page}");
    assert!(page.contains(r#"server_active_requests{service="test-service",protocol="http"} 0"#), "{page}");
}

#[tokio::test]
async fn unknown_routes_are_a_problem_and_one_series() {
    let served = Served::with(routes(), Limits::default()).await;
    for (path, status, code) in [("/nowhere", 404, "not_found"), ("/orders", 405, "method_not_allowed")] {
        let answer = served.get(path).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
    served.get("/nowhere/else").await;
    let page = served.runtime.metrics.encode();
    assert!(page.contains(r#"http_route="unmatched",http_response_status_code="404",error_type=""} 2"#), "{page}");
}

#[tokio::test]
async fn a_panic_is_a_problem_that_names_its_trace_and_nothing_else() {
    let served = Served::with(routes(), Limits::default()).await;
    let answer = client()
        .get(format!("{}/panic", served.url))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("x-correlation-id", "mine")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 500);
    assert_eq!(answer.headers()["x-correlation-id"], "mine");
    let body = answer.text().await.unwrap();
    assert!(body.contains(r#""trace_id":"0af7651916cd43dd8448eb211c80319c""#), "{body}");
    assert!(body.contains(r#""code":"internal""#) && !body.contains("secret"), "{body}");
    let page = served.runtime.metrics.encode();
    assert!(page.contains(r#"http_response_status_code="500",error_type="500"} 1"#), "{page}");
    assert!(!page.contains("# {trace_id="), "an exemplar of a trace that nothing records: {page}");
}

#[tokio::test]
async fn bodies_have_a_limit_and_a_type() {
    let served = Served::with(routes(), Limits::default()).await;
    let send = async |kind: &str, body: Vec<u8>| {
        let request = client().post(format!("{}/orders", served.url)).header("content-type", kind);
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let code = answer.json::<Value>().await.unwrap()["code"].as_str().unwrap_or("").to_owned();
        (status, code)
    };
    assert_eq!(send("application/json; charset=utf-8", b"{}".to_vec()).await, (200, String::new()));
    assert_eq!(send("text/plain", b"{}".to_vec()).await, (415, "unsupported_media_type".to_owned()));
    assert_eq!(send("application/json", b"{".to_vec()).await, (400, "invalid_json".to_owned()));
    assert_eq!(send("application/json", vec![b' '; BODY_BYTES_MAX + 1]).await, (413, "payload_too_large".to_owned()));
}

#[tokio::test]
async fn coded_bodies_are_refused_on_every_path() {
    let served = Served::with(routes().route("/any", post(|| async { "taken" })), Limits::default()).await;
    let client = service_base::client::internal().build().unwrap();
    for path in ["/orders", "/any", "/nowhere"] {
        for coding in ["gzip", "br", "identity, deflate", "x"] {
            let request = client.post(format!("{}{path}", served.url)).header("content-encoding", coding).body("{}");
            let answer = request.header("content-type", "application/json").send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["accept-encoding"]),
                (415, &"identity".parse().unwrap())
            );
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unsupported_media_type", "{path} {coding}");
        }
    }
    let plain = client.post(format!("{}/any", served.url)).header("content-encoding", "identity").body("{}");
    assert_eq!(plain.send().await.unwrap().status(), 200);
    let mut raw = TcpStream::connect(served.address).await.unwrap();
    raw.write_all(
        b"POST /any HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
    )
    .await
    .unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_request"), "{answer}");
}

#[tokio::test]
async fn headers_must_come_in_time_and_in_bounds() {
    let limits = Limits { header_read_max: Duration::from_millis(100), ..Limits::default() };
    let served = Served::with(routes(), limits).await;
    // A caller that never ends its headers is hung up on.
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /items/a HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut answer)).await.unwrap();
    assert!(read.is_ok() && !answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let mut large = TcpStream::connect(served.address).await.unwrap();
    let _ = large.write_all(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024)).as_bytes()).await;
    let mut answer = vec![0; 16];
    let count = large.read(&mut answer).await.unwrap_or(0);
    assert!(count == 0 || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}

/// A handler that says that it runs, and waits to be let go.
fn gated() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (runs, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (started, gate) = (Arc::clone(&runs), Arc::clone(&go));
    let handler = move || async move {
        started.notify_one();
        gate.notified().await;
        "done"
    };
    (Router::new().route("/slow", get(handler)), runs, go)
}

#[tokio::test]
async fn requests_end_before_the_server_does() {
    let (router, runs, go) = gated();
    let served = Served::with(router, Limits::default()).await;
    let request = tokio::spawn(client().get(format!("{}/slow", served.url)).send());
    runs.notified().await;
    served.runtime.shutdown.trigger();
    // No new connection is let in.
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.serving.is_finished());
    go.notify_one();
    assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "done");
    served.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut() {
    let (router, runs, _go) = gated();
    let served = Served::with(router, Limits { drain_max: Duration::from_millis(50), ..Limits::default() }).await;
    let request = tokio::spawn(client().get(format!("{}/slow", served.url)).send());
    runs.notified().await;
    served.runtime.shutdown.trigger();
    served.serving.await.unwrap().unwrap();
    assert!(request.await.unwrap().is_err());
}

/// Reads one answer without a body's end: until `done` is part of it, or the connection is over.
async fn read_until(stream: &mut TcpStream, done: &str) -> String {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(done) {
        if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

const KEPT: &[u8] = b"GET /items/a HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_request_on_an_idle_connection_is_answered_while_closing() {
    let hour = Duration::from_hours(1);
    let served = Served::with(routes(), Limits { last_call: hour, drain_max: hour, ..Limits::default() }).await;
    let mut kept = TcpStream::connect(served.address).await.unwrap();
    kept.write_all(KEPT).await.unwrap();
    assert!(!read_until(&mut kept, "an item").await.contains("connection: close"));
    served.runtime.shutdown.trigger();
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // It was on its way already.
    kept.write_all(KEPT).await.unwrap();
    let answer = read_until(&mut kept, "an item").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(read_until(&mut kept, "never").await, "", "and that was the last");
    served.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_is_served() {
    let (router, runs, go) = gated();
    let served = Served::with(router, Limits { connections_max: 2, ..Limits::default() }).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    runs.notified().await;
    // Nothing is awaited between these two lines, so the listener has not seen the connection that the kernel has made.
    let waiting = std::net::TcpStream::connect(served.address).unwrap();
    served.runtime.shutdown.trigger();
    waiting.set_nonblocking(true).unwrap();
    let mut waiting = TcpStream::from_std(waiting).unwrap();
    waiting.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    runs.notified().await;
    go.notify_waiters();
    for stream in [&mut first, &mut waiting] {
        assert!(read_until(stream, "done").await.starts_with("HTTP/1.1 200"));
    }
    served.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn quiet_callers_do_not_hold_the_end() {
    // Would be cut after an hour only.
    let served = Served::with(routes(), Limits { drain_max: Duration::from_hours(1), ..Limits::default() }).await;
    // A head that is never completed, and an HTTP/2 connection whose caller neither reads nor answers pings.
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(b"GET /items/a HTTP/1.1\r\n").await.unwrap();
    let mut deaf = TcpStream::connect(served.address).await.unwrap();
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    served.get("/items/a").await;
    served.runtime.shutdown.trigger();
    tokio::time::timeout(Duration::from_secs(20), served.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_endless_grpc_stream_is_ended_at_shutdown() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let runtime = Runtime::for_testing();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limits = Limits { drain_max: Duration::from_hours(1), ..Limits::default() };
    let serving = tokio::spawn(crate::grpc::Server::new("test-service", &runtime).limits(limits).serve(listener));
    let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut watching = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().status, 1);
    runtime.shutdown.trigger();
    let ended = async {
        loop {
            // It may say that the service is not serving any more before it ends.
            match watching.message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends").unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert_eq!(service_base::status::refusal_reason(&status).unwrap().reason, "OVERLOADED");
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stage_ends_its_streams_when_the_process_stops() {
    let process = Shutdown::new();
    let stage = process.stage();
    let router = Router::new().route(
        "/stream",
        get(|| async {
            let body = axum::body::Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
            ([("content-type", "application/grpc")], body)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/stream", listener.local_addr().unwrap());
    let serving = tokio::spawn(serve(listener, router, stage.clone()));
    let client = service_base::client::internal().http2_prior_knowledge().build().unwrap();
    let answer = client.get(&url).send().await.unwrap();
    process.trigger();
    let rest = tokio::time::timeout(Duration::from_secs(20), answer.bytes()).await.expect("it ends");
    assert_eq!(rest.unwrap().len(), 0);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200, "it is not its turn to close");
    stage.trigger();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_is_told_so_at_once() {
    let served = Served::with(routes(), Limits { connections_max: 2, ..Limits::default() }).await;
    let idle = [TcpStream::connect(served.address).await.unwrap(), TcpStream::connect(served.address).await.unwrap()];
    let mut said = String::new();
    TcpStream::connect(served.address).await.unwrap().read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 1\r\n"), "{said}");
    drop(idle);
    // The server hears in its own time that they are gone.
    loop {
        // One that is turned away while it sends may hear of nothing but a reset.
        let answer = client().get(format!("{}/items/a", served.url)).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn grpc_callers_without_a_place_are_closed() {
    let limits = Limits { connections_max: 1, http2_only: true, ..Limits::default() };
    let served = Served::with(routes(), limits).await;
    let _idle = TcpStream::connect(served.address).await.unwrap();
    let mut said = Vec::new();
    TcpStream::connect(served.address).await.unwrap().read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"");
}

#[tokio::test]
async fn the_admin_listener_tells_how_we_are() {
    let runtime = Runtime::for_testing();
    let bad = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = Arc::clone(&bad);
    runtime.readiness.add("order", "store", move || {
        let bad = asked.load(std::sync::atomic::Ordering::SeqCst);
        async move { if bad { Err("refused".to_owned()) } else { Ok(()) } }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = Shutdown::new();
    let router = crate::admin::router(&runtime);
    tokio::spawn(serve(listener, router, stop.clone()));
    let ask = async |path: &str| {
        let answer = client().get(format!("{url}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/healthz").await, (200, r#"{"status":"ok"}"#.to_owned()));
    let ready = async || {
        let (status, body) = ask("/readyz").await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let told =
        |status: &str, database: &str| serde_json::json!({"status": status, "checks": {"order-store": database}});
    assert_eq!(ready().await, (200, told("ready", "ok")));
    let metrics = async |accept: &str| {
        let answer = client().get(format!("{url}/metrics")).header("accept", accept).send().await.unwrap();
        (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    let (kind, page) = metrics("application/openmetrics-text; version=1.0.0, text/plain; q=0.5").await;
    assert!(kind.starts_with("application/openmetrics-text") && page.ends_with("# EOF\n"), "{kind}\n{page}");
    let (kind, page) = metrics("*/*").await;
    assert!(kind.starts_with("text/plain; version=0.0.4") && !page.contains("# EOF"), "{kind}\n{page}");
    bad.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ready().await, (503, told("not ready", "refused")));
    bad.store(false, std::sync::atomic::Ordering::SeqCst);
    runtime.shutdown.trigger();
    assert_eq!(ask("/readyz").await.0, 503);
    assert_eq!(ask("/healthz").await.0, 200);
    stop.trigger();
}
