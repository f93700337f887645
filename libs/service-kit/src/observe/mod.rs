//! What happens around every request a service answers: context in, a span, RED metrics, the correlation id out; and one log line, at
//! "debug" unless it failed here: requests from outside have theirs from the gateway, and orders from the order service.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use amends_primitives::IdSource;
use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use crate::Runtime;
use service_base::metrics::{DurationFamily, TraceLabel};
use service_base::{
    context::{CORRELATION_HEADER, RequestContext},
    problem::OVERLOADED_HEADER,
    wire::{code_name, grpc_timeout, is_server_fault, known_method},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    service: &'static str,
    http_request_method: String,
    http_route: String,
    http_response_status_code: u16,
    error_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    service: &'static str,
    rpc_method: String,
    rpc_status_code: &'static str,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActiveLabels {
    service: &'static str,
    protocol: &'static str,
}

struct Recorder {
    service: &'static str,
    http: DurationFamily<HttpLabels>,
    rpc: DurationFamily<RpcLabels>,
    active: Family<ActiveLabels, Gauge>,
    ids: Arc<dyn IdSource>,
    grpc: bool,
}

/// Where [`observe`] records, and which protocol it sees.
#[derive(Clone)]
pub struct Observer(Arc<Recorder>);

impl Observer {
    /// Around HTTP routes. Use with `Router::layer`, so that the route that matched is known.
    pub fn http(service: &'static str, runtime: &Runtime) -> Self {
        Self::new(service, runtime, false)
    }

    /// Around gRPC services. Also keeps the caller's `grpc-timeout`.
    pub fn grpc(service: &'static str, runtime: &Runtime) -> Self {
        Self::new(service, runtime, true)
    }

    fn new(service: &'static str, runtime: &Runtime, grpc: bool) -> Self {
        let metrics = &runtime.metrics;
        Self(Arc::new(Recorder {
            service,
            http: metrics.durations("http_server_request_duration_seconds", "How long HTTP requests took to answer"),
            rpc: metrics.durations("rpc_server_call_duration_seconds", "How long gRPC calls took, to their last byte"),
            active: metrics.gauge("server_active_requests", "Requests being answered"),
            ids: Arc::clone(&runtime.ids),
            grpc,
        }))
    }
}

/// Also for servers without a router, such as a proxy: the same metrics, recorded by hand.
impl Observer {
    /// A request has begun, and is being answered while the returned value lives.
    pub fn began(&self, protocol: &'static str) -> Active {
        Active::begin(&self.0, protocol)
    }

    /// An HTTP request was answered.
    pub fn answered_http(
        &self,
        method: &'static str,
        route: &str,
        status: u16,
        took: Duration,
        exemplar: Option<TraceLabel>,
    ) {
        let labels = HttpLabels {
            service: self.0.service,
            http_request_method: method.to_owned(),
            http_route: route.to_owned(),
            http_response_status_code: status,
            error_type: if status >= 500 { status.to_string() } else { String::new() },
        };
        self.0.http.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }

    /// A gRPC call has ended.
    pub fn answered_rpc(&self, method: &str, code: tonic::Code, took: Duration, exemplar: Option<TraceLabel>) {
        let name = code_name(code);
        let labels = RpcLabels {
            service: self.0.service,
            rpc_method: method.to_owned(),
            rpc_status_code: name,
            error_type: if is_server_fault(code) { name } else { "" },
        };
        self.0.rpc.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }
}

/// Middleware, as `from_fn_with_state(Observer::http(…), observe)`: see the module. For axum routers and for tonic's, which are axum
/// routers too.
pub async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    if observer.0.grpc { answer_rpc(observer, request, next).await } else { answer_http(observer, request, next).await }
}

/// Counts a request as active while it lives.
#[derive(Debug)]
pub struct Active(Gauge);

impl Active {
    fn begin(recorder: &Recorder, protocol: &'static str) -> Self {
        let gauge = recorder.active.get_or_create_owned(&ActiveLabels { service: recorder.service, protocol });
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn answer_http(observer: Observer, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let recorder = &*observer.0;
    let _active = Active::begin(recorder, "http");
    let context = RequestContext::extract(request.headers(), &*recorder.ids);
    // The path itself is unbounded; all unknown paths are one route.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known_method(request.method().as_str());
    let span = tracing::info_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        service = recorder.service,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
        order.id = Empty,
        idempotency.key = Empty,
        idempotency.replayed = Empty,
        correlation_id = %context.correlation,
    );
    let context = context.in_span(&span, recorder.service);

    let mut response = context.clone().scope(next.run(request).instrument(span.clone())).await;

    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR").record("error.type", status.as_str());
    }
    let took = began.elapsed();
    context.in_scope(&span, || {
        // What is refused for want of room or of a dependency is counted, and has a line a second where it is refused: a line each would
        // be more load.
        let is_refused =
            status == StatusCode::SERVICE_UNAVAILABLE || response.headers().contains_key(OVERLOADED_HEADER);
        if status.is_server_error() && !is_refused {
            tracing::info!(duration_ms = millis(took), "answered");
        } else {
            tracing::debug!(duration_ms = millis(took), "answered");
        }
    });
    observer.answered_http(method, &route, status.as_u16(), took, TraceLabel::of(&span));
    if let Ok(value) = HeaderValue::from_str(context.correlation.as_str()) {
        response.headers_mut().insert(CORRELATION_HEADER, value);
    }
    response
}

async fn answer_rpc(observer: Observer, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let recorder = &*observer.0;
    let active = Active::begin(recorder, "grpc");
    let mut context = RequestContext::extract(request.headers(), &*recorder.ids);
    context.deadline = grpc_timeout(request.headers()).map(|timeout| began + timeout);
    let deadline = context.deadline;
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let span = tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        service = recorder.service,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.status_code = Empty,
        error.type = Empty,
        order.id = Empty,
        idempotency.key = Empty,
        idempotency.replayed = Empty,
        correlation_id = %context.correlation,
    );
    let context = context.in_span(&span, recorder.service);
    let correlation = HeaderValue::from_str(context.correlation.as_str());
    let call = RpcCall { began, method, context: context.clone(), span: span.clone(), observer, _active: active };

    let work = context.scope(next.run(request).instrument(span));
    let mut response = match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| tonic::Status::deadline_exceeded("the caller's deadline has passed").into_http()),
    };
    if let Ok(value) = correlation {
        response.headers_mut().insert(CORRELATION_HEADER, value);
    }
    // A refusal has its status in the headers; everything else in the trailers.
    if let Some(code) = grpc_status(response.headers()) {
        call.end(code);
        return response;
    }
    response.map(|body| Body::new(Watched { body, call: Some(call) }))
}

#[expect(clippy::cast_precision_loss, reason = "for people and for a log; a millisecond count is small")]
fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

fn grpc_status(headers: &HeaderMap) -> Option<tonic::Code> {
    Some(tonic::Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

/// Probes ask every second; their answers are counted, but not worth a line each.
const HEALTH: &str = "grpc.health.v1.Health/";

struct RpcCall {
    began: Instant,
    method: String,
    context: RequestContext,
    span: Span,
    observer: Observer,
    _active: Active,
}

impl RpcCall {
    fn end(self, code: tonic::Code) {
        let (name, took) = (code_name(code), self.began.elapsed());
        self.span.record("rpc.status_code", name);
        // A call that was cut off has an end that its caller did not see; to a trace that is a failure, to alarms it is the caller's choice.
        if is_server_fault(code) || code == tonic::Code::Cancelled {
            self.span.record("otel.status_code", "ERROR").record("error.type", name);
        }
        self.context.in_scope(&self.span, || {
            if is_server_fault(code) && !self.method.starts_with(HEALTH) {
                tracing::info!(duration_ms = millis(took), "answered");
            } else {
                tracing::debug!(duration_ms = millis(took), "answered");
            }
        });
        // All unknown methods are one method: its name is the caller's text.
        let method = if code == tonic::Code::Unimplemented { "unmatched" } else { &self.method };
        self.observer.answered_rpc(method, code, took, TraceLabel::of(&self.span));
    }
}

/// A gRPC body that ends its call with the status in the trailers, or as cancelled if it is dropped before.
struct Watched {
    body: Body,
    call: Option<RpcCall>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = {
            // Streams log while they are polled; their lines belong to the call.
            let Self { body, call } = &mut *self;
            let body = Pin::new(body);
            ready!(match call {
                Some(call) => call.context.in_scope(&call.span, || body.poll_frame(context)),
                None => body.poll_frame(context),
            })
        };
        let code = match &frame {
            Some(Ok(frame)) => {
                frame.trailers_ref().map(|trailers| grpc_status(trailers).unwrap_or(tonic::Code::Unknown))
            }
            Some(Err(_)) => Some(tonic::Code::Internal),
            None => Some(tonic::Code::Unknown),
        };
        if let Some(code) = code
            && let Some(call) = self.call.take()
        {
            call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call.end(tonic::Code::Cancelled);
        }
    }
}

#[cfg(test)]
mod trace_tests;

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use axum::{Router, http::Request, middleware::from_fn_with_state, routing::post};
    use http_body_util::{BodyExt as _, StreamBody};
    use parking_lot::Mutex;
    use tower::ServiceExt as _;

    use super::*;

    fn served(runtime: &Runtime, router: Router) -> Router {
        router.layer(from_fn_with_state(Observer::grpc("payment-service", runtime), observe))
    }

    fn call(path: &str, timeout: Option<&str>) -> Request<Body> {
        let request = Request::post(path).header("content-type", "application/grpc").header("x-correlation-id", "c-1");
        timeout.iter().fold(request, |r, t| r.header("grpc-timeout", *t)).body(Body::empty()).unwrap()
    }

    fn status(response: &Response) -> (u16, Option<tonic::Code>) {
        (response.status().as_u16(), grpc_status(response.headers()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_deadline_is_kept_and_known_to_the_method() {
        let runtime = Runtime::for_testing();
        let seen: Arc<Mutex<Option<Duration>>> = Arc::default();
        let told = Arc::clone(&seen);
        let handler = move || async move {
            let deadline = RequestContext::current().unwrap().deadline;
            *told.lock() = deadline.map(|at| at - Instant::now());
            std::future::pending::<()>().await;
        };
        let app = served(&runtime, Router::new().route("/p.Payments/Charge", post(handler)));
        let began = Instant::now();
        let response = app.oneshot(call("/p.Payments/Charge", Some("250m"))).await.unwrap();
        assert_eq!(status(&response), (200, Some(tonic::Code::DeadlineExceeded)));
        assert_eq!((began.elapsed(), *seen.lock()), (Duration::from_millis(250), Some(Duration::from_millis(250))));
        let page = runtime.metrics.encode();
        let labels = r#"service="payment-service",rpc_method="p.Payments/Charge",rpc_status_code="DEADLINE_EXCEEDED""#;
        assert!(page.contains(labels), "{page}");
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_trailers_or_as_cancelled() {
        let runtime = Runtime::for_testing();
        let handler = || async {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("8"));
            let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
            Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))))
        };
        let app = served(&runtime, Router::new().route("/p.Payments/Watch", post(handler)));
        let response = app.clone().oneshot(call("/p.Payments/Watch", None)).await.unwrap();
        assert_eq!(response.headers()["x-correlation-id"], "c-1");
        assert!(runtime.metrics.encode().contains(r#"protocol="grpc"} 1"#));
        response.into_body().collect().await.unwrap();
        drop(app.oneshot(call("/p.Payments/Watch", None)).await.unwrap());
        let page = runtime.metrics.encode();
        for code in ["RESOURCE_EXHAUSTED", "CANCELLED"] {
            let series = format!(r#"rpc_method="p.Payments/Watch",rpc_status_code="{code}",error_type=""}} 1"#);
            assert!(page.contains(&series), "{page}");
        }
        assert!(page.contains(r#"protocol="grpc"} 0"#));
    }
}
