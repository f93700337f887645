//! What a caller sees of a server is the same over connections and within the process.

use std::{
    convert::Infallible,
    error::Error as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use amends_telemetry::{LogFormat, LogTo};
use axum::{extract::ConnectInfo, http};
use futures::{StreamExt as _, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code as Grpc, Request, Response, Status, metadata::MetadataMap, service::interceptor::InterceptedService};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Service, ServiceExt as _, util::MapRequest};
use tracing::Instrument as _;

use super::*;
use crate::faults::{Faults, FaultsConfig};
use service_base::{
    context::{Inject, RequestContext},
    problem::{Code, Problem},
    status::{is_given_up, nothing_sent, refusal_reason, retry_after},
};

/// Longer than anything here takes; only a failure meets it.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 1024;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Connections,
    Memory,
}

/// Something that one side attaches for itself.
#[derive(Debug, Clone)]
struct Private;

/// What a method was told of its call.
struct Seen {
    metadata: MetadataMap,
    is_private_known: bool,
    caller: Option<IpAddr>,
}

/// Does what it is asked for by name.
#[derive(Clone, Default)]
struct Script {
    seen: Arc<Mutex<Vec<Seen>>>,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
    /// Cancelled when a method that waits is dropped.
    dropped: CancellationToken,
    faults: Faults,
}

#[tonic::async_trait]
impl Health for Script {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let extensions = request.extensions();
        self.seen.lock().push(Seen {
            metadata: request.metadata().clone(),
            is_private_known: extensions.get::<Private>().is_some(),
            caller: extensions.get::<ConnectInfo<SocketAddr>>().map(|caller| caller.0.ip()),
        });
        let exit = self.faults.enter(extensions.get()).await.map_err(|_| Status::unavailable("injected"))?;
        match request.get_ref().service.as_str() {
            "wait" => {
                let _dropped = self.dropped.clone().drop_guard();
                self.entered.notify_one();
                self.go_on.notified().await;
            }
            "panic" => panic!("a method panics on purpose"),
            "refuse" => {
                let refusal = Problem::of(Code::InsufficientStock, "none left");
                return Err(refusal.retry_after(Duration::from_secs(7)).into());
            }
            _ => tracing::info!("in the method"),
        }
        let mut answer = Response::new(HealthCheckResponse { status: 1 });
        answer.metadata_mut().insert("x-answer", "42".parse().unwrap());
        answer.extensions_mut().insert(Private);
        exit.leave(Ok(answer), || Status::unavailable("injected"))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = futures::stream::iter([Ok(HealthCheckResponse { status: 1 })]);
        Ok(Response::new(first.chain(futures::stream::pending()).boxed()))
    }
}

/// The script as a service of its own: every server has a health service already.
#[derive(Clone)]
struct Probe(HealthServer<Script>);

const HEALTH: &str = "grpc.health.v1.Health";

impl NamedService for Probe {
    const NAME: &'static str = "test.Probe";
}

impl Service<http::Request<Body>> for Probe {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <HealthServer<Script> as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        *request.uri_mut() = request.uri().path().replace(Self::NAME, HEALTH).parse().unwrap();
        self.0.call(request)
    }
}

fn to_probe(mut request: http::Request<Body>) -> http::Request<Body> {
    *request.uri_mut() = request.uri().path().replace(HEALTH, Probe::NAME).parse().unwrap();
    request
}

type Client =
    HealthClient<MapRequest<InterceptedService<Channels, Inject>, fn(http::Request<Body>) -> http::Request<Body>>>;

/// A server that is not served yet, and the way to it.
struct World {
    script: Script,
    runtime: Runtime,
    channels: Channels,
    server: Server,
    listener: TcpListener,
}

/// One that is.
struct Served {
    script: Script,
    runtime: Runtime,
    channels: Channels,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl World {
    async fn new(way: Way, call_timeout_ms: u64, limits: Limits, faults: FaultsConfig) -> Self {
        let script = Script { faults: Faults::new(faults, |_, _| {}), ..Script::default() };
        let runtime = Runtime::for_testing();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = Probe(HealthServer::new(script.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX));
        let server = Server::new("test", &runtime).limits(limits).add_service(probe);
        let config = ChannelConfig {
            connect_timeout_ms: 10_000,
            call_timeout_ms,
            ..ChannelConfig::at(format!("http://{}", listener.local_addr().unwrap()))
        };
        let channels = match way {
            Way::Connections => channels(&config).unwrap(),
            Way::Memory => Channels::local(server.local(), &config),
        };
        Self { script, runtime, channels, server, listener }
    }

    fn serve(self) -> Served {
        let Self { script, runtime, channels, server, listener } = self;
        Served { script, runtime, channels, serving: tokio::spawn(server.serve(listener)) }
    }
}

fn client(channels: &Channels) -> Client {
    let move_to: fn(http::Request<Body>) -> http::Request<Body> = to_probe;
    HealthClient::new(InterceptedService::new(channels.clone(), Inject).map_request(move_to))
}

async fn ask(channels: &Channels, what: &str) -> Result<Response<HealthCheckResponse>, Status> {
    client(channels).check(HealthCheckRequest { service: what.to_owned() }).await
}

impl Served {
    async fn by(way: Way) -> Self {
        World::new(way, 60_000, Limits::default(), FaultsConfig::default()).await.serve()
    }

    async fn ask(&self, what: &str) -> Result<Response<HealthCheckResponse>, Status> {
        ask(&self.channels, what).await
    }

    /// A call that waits in its method.
    async fn waiting(&self) -> JoinHandle<Result<Response<HealthCheckResponse>, Status>> {
        let channels = self.channels.clone();
        let call = tokio::spawn(async move { ask(&channels, "wait").await });
        soon("the method begins", self.script.entered.notified()).await;
        call
    }

    /// Waits until calls are refused, with nothing sent.
    async fn closes(&self) {
        soon("the server closes", async {
            while !self.ask("").await.is_err_and(|status| nothing_sent(&status)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// What decides how a status is taken: its code, and whether it was made on the caller's side, with nothing sent.
fn taken(status: &Status) -> (Grpc, bool, bool) {
    (status.code(), status.source().is_some(), nothing_sent(status))
}

/// Does the same in both ways, which must come to the same.
macro_rules! in_both_ways {
    ($($name:ident => $case:ident;)+) => {
        $(
            mod $case {
                #[tokio::test]
                async fn over_connections() {
                    super::$name(super::Way::Connections).await;
                }

                #[tokio::test]
                async fn within_the_process() {
                    super::$name(super::Way::Memory).await;
                }
            }
        )+
    };
}

in_both_ways! {
    metadata_passes_and_what_a_side_attaches_for_itself_does_not => metadata;
    refusals_keep_reason_and_time => refusals;
    long_messages_are_refused => message_length;
    late_calls_are_given_up_and_their_methods_dropped => timeouts;
    a_given_up_call_ends_its_method => given_up;
    a_panic_is_internal_and_leaves_the_caller_alone => panics;
    calls_wait_for_a_server_that_will_serve => waiting;
    a_server_that_never_serves_receives_nothing => never_served;
    closing_waits_for_calls_and_refuses_new_ones => draining;
    what_outlasts_draining_is_cut => cutting;
    streams_are_ended_at_shutdown => streams;
    injected_resets_leave_the_outcome_in_doubt => resets;
    spans_continue_the_callers_trace_and_nothing_else => spans;
    calls_are_counted => metrics;
}

async fn metadata_passes_and_what_a_side_attaches_for_itself_does_not(way: Way) {
    let served = Served::by(way).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("x-one", "1".parse().unwrap());
    request.metadata_mut().insert_bin("x-two-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
    request.extensions_mut().insert(Private);
    request.set_timeout(Duration::from_secs(30));
    let answer = client(&served.channels).check(request).await.unwrap();
    assert_eq!((answer.get_ref().status, answer.metadata().get("x-answer").unwrap().to_str().unwrap()), (1, "42"));
    assert!(answer.metadata().contains_key("x-correlation-id"), "{:?}", answer.metadata());
    assert!(answer.extensions().get::<Private>().is_none(), "{answer:?}");
    let seen = served.script.seen.lock().pop().unwrap();
    assert_eq!(seen.metadata.get("x-one").unwrap(), "1");
    assert_eq!(seen.metadata.get_bin("x-two-bin").unwrap().to_bytes().unwrap().as_ref(), [0, 255]);
    assert!(seen.metadata.contains_key("grpc-timeout"), "{:?}", seen.metadata);
    assert!(!seen.is_private_known, "what the caller attached for itself is known to the method");
    assert_eq!(seen.caller, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
}

async fn refusals_keep_reason_and_time(way: Way) {
    let status = Served::by(way).await.ask("refuse").await.unwrap_err();
    let info = refusal_reason(&status).unwrap();
    assert_eq!((info.code, status.message()), (Some(Code::InsufficientStock), "none left"));
    assert_eq!((status.code(), retry_after(&status)), (Grpc::FailedPrecondition, Some(Duration::from_secs(7))));
    assert!(status.source().is_none());
}

async fn long_messages_are_refused(way: Way) {
    let served = Served::by(way).await;
    let status = served.ask(&"x".repeat(2 * MESSAGE_BYTES_MAX)).await.unwrap_err();
    assert_eq!(refusal_reason(&status).unwrap().code, Some(Code::PayloadTooLarge), "{status:?}");
    assert!(served.script.seen.lock().is_empty());
}

async fn late_calls_are_given_up_and_their_methods_dropped(way: Way) {
    // The bound of every call, whatever the call itself allows.
    let bounded = World::new(way, 100, Limits::default(), FaultsConfig::default()).await.serve();
    let status = soon("the call's bound", bounded.ask("wait")).await.unwrap_err();
    assert_eq!(taken(&status), (Grpc::Cancelled, true, false), "{status:?}");
    soon("its method is dropped", bounded.script.dropped.cancelled()).await;
    // The call's own, which both sides keep: whichever is first.
    let served = Served::by(way).await;
    let mut request = Request::new(HealthCheckRequest { service: "wait".to_owned() });
    request.set_timeout(Duration::from_millis(100));
    let status = soon("its own time", client(&served.channels).check(request)).await.unwrap_err();
    assert!(matches!(status.code(), Grpc::Cancelled | Grpc::DeadlineExceeded) && !nothing_sent(&status), "{status:?}");
    soon("its method is dropped", served.script.dropped.cancelled()).await;
}

async fn a_given_up_call_ends_its_method(way: Way) {
    let served = Served::by(way).await;
    let call = served.waiting().await;
    assert!(!served.script.dropped.is_cancelled());
    call.abort();
    soon("its method is dropped", served.script.dropped.cancelled()).await;
    served.ask("").await.unwrap();
}

async fn a_panic_is_internal_and_leaves_the_caller_alone(way: Way) {
    let served = Served::by(way).await;
    let status = served.ask("panic").await.unwrap_err();
    assert_eq!((taken(&status), status.message()), ((Grpc::Internal, false, false), status.message()));
    assert!(!status.message().contains("on purpose"), "{status:?}");
    served.ask("").await.unwrap();
}

async fn calls_wait_for_a_server_that_will_serve(way: Way) {
    let world = World::new(way, 60_000, Limits::default(), FaultsConfig::default()).await;
    let channels = world.channels.clone();
    let mut early = tokio::spawn(async move { ask(&channels, "").await });
    let is_waiting = tokio::time::timeout(Duration::from_millis(50), &mut early).await.is_err();
    assert!(is_waiting, "answered by a server that does not serve");
    let served = world.serve();
    soon("the early call is answered", early).await.unwrap().unwrap();
    drop(served);
}

async fn a_server_that_never_serves_receives_nothing(way: Way) {
    let World { channels, server, listener, .. } =
        World::new(way, 60_000, Limits::default(), FaultsConfig::default()).await;
    drop((server, listener));
    let status = soon("a refusal", ask(&channels, "")).await.unwrap_err();
    assert_eq!(taken(&status), (Grpc::Unavailable, true, true), "{status:?}");
    assert!(!is_given_up(&status));
}

async fn closing_waits_for_calls_and_refuses_new_ones(way: Way) {
    let served = Served::by(way).await;
    let call = served.waiting().await;
    served.runtime.shutdown.trigger();
    served.closes().await;
    let status = served.ask("").await.unwrap_err();
    assert_eq!(taken(&status), (Grpc::Unavailable, true, true), "{status:?}");
    assert!(!served.serving.is_finished() && !call.is_finished(), "the call is waited for");
    served.script.go_on.notify_one();
    soon("the call is answered", call).await.unwrap().unwrap();
    soon("the server ends", served.serving).await.unwrap().unwrap();
}

async fn what_outlasts_draining_is_cut(way: Way) {
    let limits = Limits { drain_max: Duration::from_millis(100), ..Limits::default() };
    let served = World::new(way, 60_000, limits, FaultsConfig::default()).await.serve();
    let call = served.waiting().await;
    served.runtime.shutdown.trigger();
    soon("the server ends", served.serving).await.unwrap().unwrap();
    let status = soon("the call ends", call).await.unwrap().unwrap_err();
    assert_eq!(taken(&status), (Grpc::Unknown, true, false), "{status:?}");
    soon("its method is dropped", served.script.dropped.cancelled()).await;
}

async fn streams_are_ended_at_shutdown(way: Way) {
    let served = Served::by(way).await;
    let mut stream = client(&served.channels).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, 1);
    served.runtime.shutdown.trigger();
    let status = soon("the stream ends", stream.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Grpc::Unavailable, "the service is stopping"), "{status:?}");
    drop(stream);
    soon("the server ends", served.serving).await.unwrap().unwrap();
}

async fn injected_resets_leave_the_outcome_in_doubt(way: Way) {
    let faults = FaultsConfig { reset_pct: 100, ..FaultsConfig::default() };
    let served = World::new(way, 60_000, Limits::default(), faults).await.serve();
    // Before they take effect, and after: as the dice fall.
    for _ in 0..8 {
        let status = soon("the call ends", served.ask("")).await.unwrap_err();
        assert_eq!(taken(&status), (Grpc::Unknown, true, false), "{status:?}");
    }
    served.script.faults.set(FaultsConfig::default()).unwrap();
    served.ask("").await.unwrap();
}

/// The lines that a call leaves in the log, and the trace that it sent.
async fn logged(way: Way) -> (Vec<serde_json::Value>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let config = amends_telemetry::Config {
        service_name: "test".to_owned(),
        log: LogTo::File,
        log_file: file.clone(),
        log_format: LogFormat::Bunyan,
        filter: "info,service_kit::observe=debug".to_owned(),
        ..amends_telemetry::Config::default()
    };
    let (dispatch, telemetry) = amends_telemetry::build(&config).unwrap();
    let recording = tracing::dispatcher::set_default(&dispatch);
    let served = Served::by(way).await;
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
    headers.insert("x-correlation-id", "c-1".parse().unwrap());
    let context = RequestContext::extract(&headers, &*served.runtime.ids);
    let span = tracing::info_span!("calling", of_the_caller = true);
    let context = context.in_span(&span, "payment-service");
    context.scope(served.ask("").instrument(span)).await.unwrap();
    drop((recording, dispatch, telemetry));
    let metadata = served.script.seen.lock().pop().unwrap().metadata;
    let log = std::fs::read_to_string(file).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, metadata.get("traceparent").unwrap().to_str().unwrap().to_owned())
}

async fn spans_continue_the_callers_trace_and_nothing_else(way: Way) {
    let mut logged_once = logged(way).await;
    for _ in 0..20 {
        if logged_once.0.len() == 2 {
            break;
        }
        // A place in the code that another test's thread reaches first, where nothing listens, is silent until the next recorder is made.
        logged_once = logged(way).await;
    }
    let (lines, sent) = logged_once;
    let messages: Vec<&str> = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect();
    assert_eq!(messages, ["[RPC - EVENT] in the method", "[RPC - EVENT] answered"]);
    for line in &lines {
        assert_eq!((&line["trace_id"], &line["correlation_id"]), (&TRACE.into(), &"c-1".into()), "{line}");
        assert!(line.get("of_the_caller").is_none(), "{line}");
    }
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && !sent.contains("b7ad6b7169203331"), "{sent}");
}

async fn calls_are_counted(way: Way) {
    let served = Served::by(way).await;
    served.ask("").await.unwrap();
    served.ask("refuse").await.unwrap_err();
    let active = r#"server_active_requests{service="test",protocol="grpc"} 0"#;
    soon("the calls have ended", async {
        while !served.runtime.metrics.encode().contains(active) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let page = served.runtime.metrics.encode();
    for code in ["OK", "FAILED_PRECONDITION"] {
        let count = format!(
            r#"rpc_server_call_duration_seconds_count{{service="test",rpc_method="test.Probe/Check",rpc_status_code="{code}",error_type=""}} 1"#
        );
        assert!(page.contains(&count), "{page}");
    }
}
