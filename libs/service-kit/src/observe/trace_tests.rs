//! One trace and one correlation id through a service: from the caller's header to its log lines, its answer and its own calls.

use std::{path::PathBuf, sync::Arc, time::Duration};

use amends_telemetry::{Config, LogFormat, LogTo};
use axum::{Router, body::Body, http::Request, middleware::from_fn_with_state, routing::get};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::Runtime;
use amends_resilience::{Call, Deadline, Edge, Guard, Resilience};
use service_base::context::{current_trace_id, current_trace_text, inject};
use service_base::problem::{Code, Problem};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn recorded_to(file: PathBuf) -> (tracing::Dispatch, amends_telemetry::Guard) {
    let config = Config {
        service_name: "order-service".to_owned(),
        log: LogTo::File,
        log_file: file,
        log_format: LogFormat::Bunyan,
        filter: "debug".to_owned(),
        ..Config::default()
    };
    amends_telemetry::build(&config).unwrap()
}

#[tokio::test]
async fn the_callers_trace_is_in_every_line_answer_and_call() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let (dispatch, telemetry) = recorded_to(file.clone());
    let recording = tracing::dispatcher::set_default(&dispatch);
    let runtime = Runtime::for_testing();
    let guard = Guard::new(
        Edge::new("test", "payment-service"),
        &Resilience::default(),
        Arc::clone(&runtime.clock),
        &runtime.metrics,
    );
    let sent: Arc<Mutex<HeaderMap>> = Arc::default();
    let (out, journal) = (Arc::clone(&sent), Arc::new(Mutex::new(None)));
    let kept = Arc::clone(&journal);
    let handler = move || async move {
        tracing::info!("in the handler");
        *kept.lock() = current_trace_text();
        let deadline = Deadline::after(Duration::from_secs(1));
        let call = guard.send(Call::new("test.Payments/Charge", deadline, ()).attempt(2), |_| async {
            tracing::info!("in the call");
            let mut headers = HeaderMap::new();
            inject(&mut headers);
            *out.lock() = headers;
            Ok::<_, tonic::Status>(())
        });
        call.await.unwrap();
        Problem::of(Code::InsufficientStock, "none left")
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(from_fn_with_state(Observer::http("order-service", &runtime), observe));
    let request = Request::get("/")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("x-correlation-id", "c-1")
        .body(Body::empty())
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    let problem: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    drop((recording, dispatch, telemetry));

    assert_eq!(problem["trace_id"], TRACE);
    let headers = sent.lock().clone();
    assert_eq!(headers["x-correlation-id"], "c-1");
    let parents = [headers["traceparent"].to_str().unwrap().to_owned(), journal.lock().clone().unwrap()];
    let spans: Vec<&str> = parents.iter().map(|parent| parent.split('-').nth(2).unwrap()).collect();
    assert!(parents.iter().all(|parent| parent.starts_with(&format!("00-{TRACE}-"))), "{parents:?}");
    // Nothing is exported: the service's own span stands for the calls that it makes.
    assert!(spans[0] == spans[1] && spans[0] != "b7ad6b7169203331", "{spans:?}");

    let log = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&str> = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect();
    let expected = [
        "[HTTP.REQUEST - EVENT] in the handler",
        "[RPC.CLIENT - EVENT] in the call",
        "[HTTP.REQUEST - EVENT] answered",
    ];
    assert_eq!(messages, expected);
    for line in &lines {
        assert_eq!((&line["trace_id"], &line["correlation_id"]), (&TRACE.into(), &"c-1".into()), "{line}");
    }
    assert!(lines.iter().all(|line| line["span_id"] == spans[0]), "{lines:?}");
    assert_eq!(lines[1]["peer.service"], "payment-service");
    let seen = ["retry.attempt", "circuit_breaker.state", "bulkhead.in_flight"].map(|field| lines[1][field].clone());
    assert_eq!(seen, [Value::from(2), Value::from("closed"), Value::from(1)]);
}

#[tokio::test]
async fn work_taken_up_again_continues_its_trace() {
    let directory = tempfile::tempdir().unwrap();
    let (dispatch, telemetry) = recorded_to(directory.path().join("log"));
    let recording = tracing::dispatcher::set_default(&dispatch);
    let ids = amends_primitives::SeededIds::new(3);
    let parent = format!("00-{TRACE}-b7ad6b7169203331-00");
    let context = RequestContext::resumed(Some("c-1"), Some(&parent), &ids);
    let span = tracing::info_span!("saga.resume");
    context.adopt(&span, "order-service");
    let seen = context.clone().scope(async { span.in_scope(|| (current_trace_id(), current_trace_text())) }).await;
    assert_eq!(seen.0.as_deref(), Some(TRACE));
    assert!(seen.1.is_some_and(|now| now.starts_with(&format!("00-{TRACE}-"))));
    drop((recording, dispatch, telemetry));
}

#[tokio::test]
async fn the_caller_decides_on_sampling_or_else_the_sampler() {
    // Without a listener nothing arrives, but what is to be sent is decided all the same.
    let unreachable = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config { log: LogTo::Off, otlp_endpoint: Some(format!("http://{unreachable}")), ..Config::default() };
    let (dispatch, telemetry) = amends_telemetry::build(&config).unwrap();
    let recording = tracing::dispatcher::set_default(&dispatch);
    let runtime = Runtime::for_testing();
    let app = Router::new()
        .route("/", get(|| async { current_trace_text().unwrap() }))
        .layer(from_fn_with_state(Observer::http("order-service", &runtime), observe));
    let ask = async |parent: Option<&str>| {
        let request = parent.iter().fold(Request::get("/"), |request, parent| request.header("traceparent", *parent));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    assert!(ask(None).await.ends_with("-01"));
    assert!(ask(Some(&format!("00-{TRACE}-b7ad6b7169203331-01"))).await.ends_with("-01"));
    assert!(ask(Some(&format!("00-{TRACE}-b7ad6b7169203331-00"))).await.ends_with("-00"));
    drop((recording, dispatch, telemetry));
}
