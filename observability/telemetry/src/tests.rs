//! What comes out, as those who read it see it: lines, spans, counts.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Duration, Instant},
};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use serde_json::Value;

use super::*;

fn quiet() -> Config {
    Config { service_name: "order-service".to_owned(), log: LogTo::Off, recent_kib: 0, ..Config::default() }
}

/// As a request's context does around work that is not recorded.
fn in_span_of_request(span: u64) -> opentelemetry::ContextGuard {
    let current = Context::current();
    if current.has_active_span() && !current.span().span_context().is_remote() {
        return current.attach();
    }
    let trace = TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    let context = SpanContext::new(trace, SpanId::from(span), TraceFlags::default(), true, TraceState::NONE);
    Context::new().with_remote_span_context(context).attach()
}

/// A small piece of a request's life, with fields on spans and events that collide.
fn work() {
    let request =
        tracing::info_span!("http.request", correlation_id = "c-1", order.id = "o-1", status = tracing::field::Empty);
    let _request = request.enter();
    let _context = in_span_of_request(1);
    tracing::info!(order.id = "o-2", environment = "mine", file = "x", "took over");
    request.record("status", 201);
    let step = tracing::info_span!("saga.step", saga.id = "s-1", correlation_id = "c-1", r#type = "charge");
    let _step = step.enter();
    let _context = in_span_of_request(2);
    tracing::warn!(
        retry.attempt = 2,
        ratio = 0.5,
        ok = false,
        r#"quoted "text" and a \ and
a new line"#
    );
    tracing::debug!("not at this level");
}

/// The members of a line in order, refusing keys that come twice.
fn read(line: &str) -> Vec<(String, Value)> {
    let members = fields::members(line.as_bytes()).unwrap_or_else(|| panic!("not an object: {line}"));
    let members: Vec<(String, Value)> = members
        .into_iter()
        .map(|(key, value)| (serde_json::from_slice(key).unwrap(), serde_json::from_slice(value).unwrap()))
        .collect();
    let keys: BTreeSet<&String> = members.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), members.len(), "a key comes twice: {line}");
    members
}

fn get<'a>(members: &'a [(String, Value)], key: &str) -> &'a Value {
    members.iter().find(|(known, _)| known == key).map_or(&Value::Null, |(_, value)| value)
}

fn check_lines(lines: &[String]) {
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let (first, second) = (read(&lines[0]), read(&lines[1]));
    for line in [&first, &second] {
        assert_eq!(get(line, "trace_id").as_str().unwrap().len(), 32);
        assert_eq!(get(line, "span_id").as_str().unwrap().len(), 16);
        assert_eq!(get(line, "correlation_id"), "c-1");
        assert_eq!(get(line, "service_name"), "order-service");
        assert_eq!(get(line, "service_version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(get(line, "environment"), "development");
    }
    assert_eq!(get(&first, "trace_id"), get(&second, "trace_id"));
    assert_ne!(get(&first, "span_id"), get(&second, "span_id"));
    assert_eq!(get(&first, "order_id"), "o-2");
    assert_eq!(get(&second, "order_id"), "o-1");
    assert_eq!(get(&second, "saga_id"), "s-1");
    assert_eq!(get(&second, "type"), "charge");
    assert_eq!(
        (get(&second, "retry.attempt"), get(&second, "ratio"), get(&second, "ok")),
        (&2.into(), &0.5.into(), &false.into())
    );
}

#[test]
fn console_lines_are_bunyan_with_ids_and_without_duplicate_keys() {
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    let config = Config { log: LogTo::File, log_file: log_file.clone(), ..quiet() };
    let (dispatch, guard) = build(&config).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    drop((dispatch, guard));
    let lines: Vec<String> = std::fs::read_to_string(log_file).unwrap().lines().map(str::to_owned).collect();
    check_lines(&lines);
    let second = read(&lines[1]);
    assert_eq!(
        (get(&second, "v"), get(&second, "level"), get(&second, "name")),
        (&0.into(), &40.into(), &"order-service".into())
    );
    assert_eq!(get(&second, "msg"), "[SAGA.STEP - EVENT] quoted \"text\" and a \\ and\na new line");
    assert!(get(&second, "time").is_string() && get(&second, "pid").is_u64() && get(&second, "hostname").is_string());
}

#[test]
fn people_get_lines_for_people() {
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    let config = Config { log: LogTo::File, log_format: LogFormat::Pretty, log_file: log_file.clone(), ..quiet() };
    let (dispatch, guard) = build(&config).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    drop((dispatch, guard));
    let text = std::fs::read_to_string(log_file).unwrap();
    assert!(text.contains(" INFO ") && text.contains("took over") && text.contains("http.request"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a file");
}

/// Accepts one connection and sends its lines.
fn sink() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        }
    });
    (address, lines)
}

#[test]
fn shipped_lines_are_json_with_ids_and_no_duplicate_keys() {
    let (address, lines) = sink();
    let (dispatch, guard) = build(&Config { logstash: Some(address), ..quiet() }).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    let meters = guard.meters().clone();
    drop((dispatch, guard));
    let lines: Vec<String> = (0..2).map(|_| lines.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
    check_lines(&lines);
    let second = read(&lines[1]);
    assert_eq!(get(&second, "message"), "quoted \"text\" and a \\ and\na new line");
    assert_eq!(get(&second, "msg"), "[SAGA.STEP - EVENT] quoted \"text\" and a \\ and\na new line");
    assert_eq!((get(&second, "level"), get(&second, "log.level")), (&40.into(), &"WARN".into()));
    assert_eq!((get(&second, "span"), get(&second, "name")), (&"saga.step".into(), &"order-service".into()));
    assert!(get(&second, "@timestamp").as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&second, "status"), 201);
    assert_eq!((meters.shipper.lines.get(), meters.shipper.dropped_in_all()), (2, 0));
}

#[test]
fn an_event_outside_of_any_request_may_bring_its_ids() {
    let (address, lines) = sink();
    let (dispatch, guard) = build(&Config { logstash: Some(address), ..quiet() }).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info!(trace_id = "t-1", "outside");
        let _context = in_span_of_request(1);
        tracing::info!(trace_id = "t-2", "inside");
    });
    drop((dispatch, guard));
    let id =
        || get(&read(&lines.recv_timeout(Duration::from_secs(5)).unwrap()), "trace_id").as_str().unwrap().to_owned();
    assert_eq!(id(), "t-1");
    assert_eq!(id().len(), 32);
}

#[test]
fn a_stalled_sink_costs_lines_but_never_time() {
    // Accepts by its backlog, and never reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (dispatch, guard) = build(&Config { logstash: Some(address), logstash_queue_max: 64, ..quiet() }).unwrap();
    let meters = guard.meters().clone();
    let text = "x".repeat(4096);
    let mut slowest = Duration::ZERO;
    tracing::dispatcher::with_default(&dispatch, || {
        for _ in 0..20_000 {
            let began = Instant::now();
            tracing::info!(text, "a line");
            slowest = slowest.max(began.elapsed());
        }
    });
    let meters = meters.shipper;
    assert_eq!(meters.lines.get(), 20_000);
    assert!(meters.dropped_in_all() > 1_000, "{}", meters.dropped_in_all());
    // What a write would have waited is seconds; a busy machine may pause us for some milliseconds.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // It never reads what it was sent; the end waits for it all the same no longer than for any other sink.
    let began = Instant::now();
    drop((dispatch, guard));
    assert!(began.elapsed() < END_MAX, "{:?}", began.elapsed());
    drop(listener);
}

/// What the end may take on a busy machine. It is bounded by a tenth of it; what it must not be is the seconds of a write's or a
/// connection's own time-out, or for ever.
const END_MAX: Duration = Duration::from_secs(4);

#[cfg(target_os = "linux")]
#[test]
fn an_unread_log_pipe_blocks_neither_callers_nor_the_end() {
    use std::os::fd::AsRawFd as _;
    let (reader, writer) = std::io::pipe().unwrap();
    let log_file = format!("/proc/self/fd/{}", writer.as_raw_fd()).into();
    let (dispatch, guard) = build(&Config { log: LogTo::File, log_file, log_queue_max: 64, ..quiet() }).unwrap();
    let meters = guard.meters().clone();
    sink::tests::log_in_time(&dispatch, 5_000, "x".repeat(200));
    assert!(meters.console.lines.get() >= 5_000, "{}", meters.console.lines.get());
    assert!(meters.console.dropped.get() > 1_000, "{}", meters.console.dropped.get());
    let began = Instant::now();
    drop((dispatch, guard));
    assert!(began.elapsed() < END_MAX, "{:?}", began.elapsed());
    drop(reader);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_the_log_costs_lines_only() {
    let (address, lines) = sink();
    let log_file = "/dev/full".into();
    let (dispatch, guard) = build(&Config { log: LogTo::File, log_file, logstash: Some(address), ..quiet() }).unwrap();
    let meters = guard.meters().clone();
    tracing::dispatcher::with_default(&dispatch, work);
    // Logstash hears of it.
    let told = std::iter::from_fn(|| lines.recv_timeout(Duration::from_secs(30)).ok())
        .any(|line| get(&read(&line), "message") == "log lines are refused");
    assert!(told);
    drop((dispatch, guard));
    assert!(meters.console.dropped.get() >= 2, "{}", meters.console.dropped.get());
}

#[test]
fn a_silent_collector_does_not_hold_the_end() {
    // Accepts by its backlog, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (dispatch, guard) = build(&Config { otlp_endpoint: Some(endpoint), ..quiet() }).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    let began = Instant::now();
    drop((dispatch, guard));
    assert!(began.elapsed() < END_MAX, "{:?}", began.elapsed());
    drop(listener);
}

#[test]
fn a_sink_that_comes_back_gets_what_waited() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (dispatch, guard) = build(&Config { logstash: Some(address.to_string()), ..quiet() }).unwrap();
    let log = |text: &str| tracing::dispatcher::with_default(&dispatch, || tracing::info!("{text}"));
    let first_line = |stream: TcpStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        get(&read(&line), "message").clone()
    };
    log("one");
    assert_eq!(first_line(listener.accept().unwrap().0), "one"); // and hangs up
    log("two");
    assert_eq!(first_line(listener.accept().unwrap().0), "two");
    drop(listener);
    log("three");
    let listener = TcpListener::bind(address).unwrap();
    assert_eq!(first_line(listener.accept().unwrap().0), "three");
    drop((dispatch, guard));
}

#[test]
fn the_end_waits_for_lines_but_not_for_ever() {
    let unreachable = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (dispatch, guard) = build(&Config { logstash: Some(unreachable), ..quiet() }).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    let meters = guard.meters().clone();
    let began = Instant::now();
    drop((dispatch, guard));
    assert!(began.elapsed() < END_MAX, "{:?}", began.elapsed());
    // Counted by the thread that gives them up, for which nothing waits.
    let patience = Instant::now() + Duration::from_secs(30);
    while meters.shipper.dropped_in_all() < 2 && Instant::now() < patience {
        std::thread::yield_now();
    }
    assert_eq!(
        (meters.shipper.lines.get(), meters.shipper.dropped_in_all(), meters.shipper.connected.get()),
        (2, 2, 0)
    );
}

/// A collector that keeps what it is sent.
struct Collector(mpsc::Sender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let text = format!("{attributes:?}");
            assert!(text.contains("order-service") && text.contains("deployment.environment.name"), "{text}");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.0.send(span);
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_reach_a_collector_under_their_callers_trace() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (send, spans) = mpsc::channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(send)));
    runtime.spawn(server.serve_with_incoming(incoming));

    let (dispatch, guard) = build(&Config { otlp_endpoint: Some(format!("http://{address}")), ..quiet() }).unwrap();
    let parent = opentelemetry::trace::SpanContext::new(
        opentelemetry::trace::TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap(),
        opentelemetry::trace::SpanId::from_hex("b7ad6b7169203331").unwrap(),
        opentelemetry::trace::TraceFlags::SAMPLED,
        true,
        opentelemetry::trace::TraceState::NONE,
    );
    tracing::dispatcher::with_default(&dispatch, || {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        let root = tracing::info_span!("caller");
        root.set_parent(opentelemetry::Context::new().with_remote_span_context(parent)).unwrap();
        root.in_scope(work);
        // A caller that does not sample is not sampled here either.
        let unsampled = opentelemetry::trace::SpanContext::new(
            opentelemetry::trace::TraceId::from(7),
            opentelemetry::trace::SpanId::from(7),
            opentelemetry::trace::TraceFlags::default(),
            true,
            opentelemetry::trace::TraceState::NONE,
        );
        let quiet = tracing::info_span!("unsampled");
        quiet.set_parent(opentelemetry::Context::new().with_remote_span_context(unsampled)).unwrap();
        quiet.in_scope(|| tracing::info!("x"));
    });
    drop((dispatch, guard));
    let spans: Vec<Span> = spans.try_iter().collect();
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["caller", "http.request", "saga.step"]);
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert!(spans.iter().all(|span| span.trace_id == find("caller").trace_id));
    assert_eq!(find("caller").parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(find("http.request").parent_span_id, find("caller").span_id);
    assert_eq!(find("saga.step").parent_span_id, find("http.request").span_id);
}

#[test]
fn a_missing_collector_does_not_block_the_process() {
    let unreachable = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dispatch, guard) = build(&Config { otlp_endpoint: Some(format!("http://{unreachable}")), ..quiet() }).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    let began = Instant::now();
    drop((dispatch, guard));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn mistakes_are_named() {
    let config = Config {
        filter: "nonsense=loud".to_owned(),
        sample_percent: 101.0,
        otlp_endpoint: Some("collector:4317".to_owned()),
        logstash: Some("logstash".to_owned()),
        log_queue_max: 0,
        logstash_queue_max: usize::MAX,
        logstash_ca_file: Some("ca.pem".into()),
        recent_kib: usize::MAX,
        ..Config::default()
    };
    let keys: Vec<&str> = config.mistakes().into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        keys,
        [
            "filter",
            "sample_percent",
            "otlp_endpoint",
            "logstash",
            "log_queue_max",
            "logstash_queue_max",
            "logstash_ca_file",
            "recent_kib"
        ]
    );
    assert!(Config::default().mistakes().is_empty());
}

#[test]
fn what_nothing_reads_is_not_made() {
    let (dispatch, _guard) = build(&quiet()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        assert!(tracing::error_span!("request").is_disabled());
        assert!(!tracing::enabled!(tracing::Level::ERROR));
    });
}

/// The members of a record that two renderers have from different clocks and places.
const OF_THE_MOMENT: [&str; 4] = ["time", "@timestamp", "trace_id", "span_id"];

#[test]
fn shipped_record_is_the_bunyan_record_and_ecs_names() {
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    let (address, lines) = sink();
    let config = Config { log: LogTo::File, log_file: log_file.clone(), logstash: Some(address), ..quiet() };
    let (dispatch, guard) = build(&config).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    drop((dispatch, guard));
    let mapping: Value = serde_json::from_str(include_str!("../../elasticsearch/index-template.json")).unwrap();
    let kept = |line: &str| {
        let members = read(line).into_iter().filter(|(key, _)| !OF_THE_MOMENT.contains(&key.as_str()));
        members.map(|(key, value)| (key, value.to_string())).collect::<BTreeSet<_>>()
    };
    for bunyan in std::fs::read_to_string(log_file).unwrap().lines() {
        let (bunyan, shipped) = (kept(bunyan), kept(&lines.recv_timeout(Duration::from_secs(5)).unwrap()));
        let missing: Vec<_> = bunyan.difference(&shipped).collect();
        assert!(missing.is_empty(), "{missing:?} of {shipped:?}");
        let more: Vec<_> = shipped.difference(&bunyan).map(|(key, _)| key.as_str()).collect();
        assert_eq!(more, ["log.level", "message", "span"]);
        for (key, value) in shipped {
            // Elasticsearch refuses a record that writes to an alias.
            let kind = mapping["template"]["mappings"]["properties"][&key]["type"].as_str();
            let is_number = value.parse::<f64>().is_ok();
            match kind {
                Some("text" | "date_nanos") => assert!(value.starts_with('"'), "{key}: {value}"),
                Some("byte" | "short" | "integer" | "long") => assert!(is_number, "{key}: {value}"),
                other => assert!(matches!(other, None | Some("keyword")), "{key} is mapped as {other:?}"),
            }
        }
    }
}

#[test]
fn stories_are_shipped_and_not_on_the_console() {
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    for (filter, on_console) in [("info", 0), ("info,story=info", 1), ("warn,story=info", 1)] {
        for log_format in [LogFormat::Bunyan, LogFormat::Pretty] {
            let (address, lines) = sink();
            let log_file = log_file.with_extension(format!("{filter}{log_format:?}"));
            let config = Config {
                log: LogTo::File,
                log_file: log_file.clone(),
                log_format,
                filter: filter.to_owned(),
                logstash: Some(address),
                ..quiet()
            };
            let (dispatch, guard) = build(&config).unwrap();
            tracing::dispatcher::with_default(&dispatch, || {
                tracing::info!(target: "story", "step done");
                tracing::error!(target: "story", "parked");
            });
            drop((dispatch, guard));
            let console = std::fs::read_to_string(log_file).unwrap();
            assert_eq!(console.matches("step done").count(), on_console, "{filter}: {console}");
            assert_eq!(console.matches("parked").count(), 1, "what a human must see: {console}");
            for message in ["step done", "parked"] {
                let line = lines.recv_timeout(Duration::from_secs(5)).unwrap();
                assert_eq!(get(&read(&line), "message"), message);
            }
        }
    }
}

#[test]
fn a_story_that_no_sink_takes_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    let enabled = |config: Config| {
        let (dispatch, _guard) = build(&config).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            (
                tracing::enabled!(target: "story", tracing::Level::INFO),
                tracing::enabled!(target: "story", tracing::Level::ERROR),
                tracing::enabled!(tracing::Level::INFO),
            )
        })
    };
    let console = Config { log: LogTo::File, log_file, ..quiet() };
    assert_eq!(enabled(console.clone()), (false, true, true));
    assert_eq!(enabled(Config { filter: "info,story=info".to_owned(), ..console.clone() }), (true, true, true));
    assert_eq!(enabled(Config { recent_kib: 1, ..console }), (true, true, true));
    // Kept lines alone do not have every other line made.
    assert_eq!(enabled(Config { recent_kib: 1, ..quiet() }), (true, true, false));
}

thread_local! {
    static AT_HAND: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

#[test]
fn lines_name_the_correlation_of_the_work_at_hand() {
    correlate_by(|show| AT_HAND.get().into_iter().for_each(show));
    let directory = tempfile::tempdir().unwrap();
    let log_file = directory.path().join("log");
    let (address, lines) = sink();
    let config = Config { log: LogTo::File, log_file: log_file.clone(), logstash: Some(address), ..quiet() };
    let (dispatch, guard) = build(&config).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info!("of no request");
        AT_HAND.set(Some("c-2"));
        tracing::info!("of a request");
        tracing::info!(correlation_id = "c-3", "about another request");
        AT_HAND.set(None);
    });
    drop((dispatch, guard));
    let console = std::fs::read_to_string(log_file).unwrap();
    let shipped: Vec<String> = (0..3).map(|_| lines.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
    for lines in [console.lines().map(str::to_owned).collect(), shipped] {
        let ids: Vec<Value> = lines.iter().map(|line| get(&read(line), "correlation_id").clone()).collect();
        assert_eq!(ids, [Value::Null, "c-2".into(), "c-3".into()]);
    }
}
