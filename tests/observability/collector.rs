//! A real OpenTelemetry Collector with the shipped configuration: what comes out of it.
//!
//! Of the configuration only this differs: it listens on ports of this test's own, and what it would send to Jaeger and to Elasticsearch it
//! prints.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use amends_tests::{
    announce,
    process::{Launch, Process, eventually, free_port},
    setting,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::dashboards::shipped;

/// Where the collector is that `cargo xtask proof observability` builds.
const COLLECTOR: &str = "AMENDS_OTELCOL";
/// Its listeners, as shipped.
const PORTS: [u16; 6] = [4317, 4318, 5044, 8888, 8889, 13133];
/// A decision about a trace takes ten seconds, on an idle machine.
const BOUND: Duration = Duration::from_mins(1);

pub(crate) async fn spans_become_metrics_named_by_convention() -> Result<()> {
    let Some(collector) = Collector::start("100").await? else { return Ok(()) };
    collector.send(1, false).await?;
    for (what, labels) in expected() {
        let found = || async { collector.metrics().await.is_ok_and(|page| has(&page, what, labels)) };
        let missing = format!("{what}{labels:?}");
        if eventually(&missing, BOUND, found).await.is_err() {
            anyhow::bail!("{missing} is not in\n{}", collector.metrics().await?);
        }
    }
    let page = collector.metrics().await?;
    ensure!(!page.contains("traces_span_metrics"), "a metric kept its former name:\n{page}");
    ensure!(!page.contains("span_kind="), "a label that says nothing any more is there:\n{page}");
    let client_lines = page.lines().filter(|line| line.starts_with("http_client_request_duration_seconds_count"));
    ensure!(client_lines.clone().count() == 1, "one edge is one series:\n{page}");
    collector.log_line().await?;
    eventually("the log line arrives with its trace", BOUND, || async {
        let printed = collector.process.output();
        printed.contains("an order was accepted") && printed.contains("Trace ID: 000000000000000000000000000000ff")
    })
    .await
    .with_context(|| collector.process.tail())?;
    println!("{} metrics by convention came out", expected().len());
    Ok(())
}

pub(crate) async fn failed_traces_are_kept_when_no_others_are() -> Result<()> {
    let Some(collector) = Collector::start("0").await? else { return Ok(()) };
    collector.send(1, false).await?;
    collector.send(2, true).await?;
    eventually("the failed trace is kept", BOUND, || async { collector.process.output().contains(&trace(2)) })
        .await
        .with_context(|| collector.process.tail())?;
    ensure!(!collector.process.output().contains(&trace(1)), "a trace that was well is kept at 0 %");
    Ok(())
}

/// What has to come out for one order's spans: names, and labels that are among those of one series.
fn expected() -> [(&'static str, &'static [&'static str]); 7] {
    [
        (
            "http_server_request_duration_seconds_bucket",
            &[r#"service_name="gateway""#, r#"http_request_method="POST""#, r#"http_route="/v1/orders""#],
        ),
        ("http_server_request_duration_seconds_count", &[r#"http_response_status_code="201""#]),
        (
            "http_client_request_duration_seconds_count",
            &[
                r#"service_name="gateway""#,
                r#"peer_service="order-service""#,
                r#"service_peer_name="order-service""#,
                r#"url_template="/v1/orders""#,
            ],
        ),
        (
            "rpc_client_call_duration_seconds_count",
            &[
                r#"service_name="order-service""#,
                r#"peer_service="payment-service""#,
                r#"rpc_method="amends.payments.v1.PaymentService/Charge""#,
                r#"rpc_status_code="OK""#,
            ],
        ),
        ("rpc_server_call_duration_seconds_count", &[r#"service_name="payment-service""#, r#"rpc_status_code="OK""#]),
        (
            "db_client_operation_duration_seconds_count",
            &[r#"db_system_name="postgresql""#, r#"db_operation_name="INSERT""#, r#"peer_service="postgresql""#],
        ),
        ("traces_service_graph_request_total", &[r#"client="gateway""#, r#"server="order-service""#]),
    ]
}

fn has(page: &str, name: &str, labels: &[&str]) -> bool {
    page.lines().any(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{') && labels.iter().all(|label| rest.contains(label)))
    })
}

/// The id of the trace with that number.
fn trace(number: u64) -> String {
    format!("{number:032x}")
}

struct Collector {
    process: Process,
    http: reqwest::Client,
    ports: [u16; PORTS.len()],
    _dir: tempfile::TempDir,
}

impl Collector {
    /// None, said loudly, where there is no such program.
    async fn start(percent: &str) -> Result<Option<Self>> {
        let Some(program) = setting(COLLECTOR) else {
            announce(&format!("NOT RUN: the OpenTelemetry Collector: {COLLECTOR} does not name it"));
            return Ok(None);
        };
        let dir = tempfile::tempdir()?;
        let ports = PORTS.map(|_| free_port());
        let mut config = fs::read_to_string(shipped().join("collector/config.yaml"))?;
        for (shipped, own) in PORTS.into_iter().zip(ports) {
            config = config
                .replace(&format!(":{shipped}\""), &format!(":{own}\""))
                .replace(&format!("port: {shipped}"), &format!("port: {own}"));
        }
        let config = printing(&config)?;
        fs::write(dir.path().join("config.yaml"), config)?;
        let program = Path::new(&program);
        let launch = Launch::default()
            .env("LISTEN_HOST", "127.0.0.1")
            .env("TAIL_SAMPLE_PERCENT", percent)
            .env("SPAN_METRICS_FLUSH", "1s");
        let validate = ["validate", "--config", "config.yaml"].map(str::to_owned);
        let mut validating = Process::start("validate", program, &validate, &launch, dir.path())?;
        let code = validating.ended(BOUND).await?;
        ensure!(code == Some(0), "the shipped configuration is not valid:\n{}", validating.output());
        let process =
            Process::start("collector", program, &["--config", "config.yaml"].map(str::to_owned), &launch, dir.path())?;
        let http = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
        let collector = Self { process, http, ports, _dir: dir };
        let health = format!("http://127.0.0.1:{}/", collector.port(13133));
        eventually("the collector is up", BOUND, || async {
            collector.http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await
        .with_context(|| collector.process.tail())?;
        Ok(Some(collector))
    }

    fn port(&self, shipped: u16) -> u16 {
        PORTS.iter().position(|port| *port == shipped).map_or(0, |at| self.ports[at])
    }

    async fn metrics(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port(8889));
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// One order's spans, from three services.
    async fn send(&self, number: u64, has_failed: bool) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/v1/traces", self.port(4318));
        let answer = self.http.post(url).json(&spans(number, has_failed)).send().await?;
        ensure!(answer.status().is_success(), "the collector answered {}", answer.status());
        Ok(())
    }

    /// A line as the services' shipper sends it.
    async fn log_line(&self) -> Result<()> {
        let line = json!({
            "@timestamp": "2026-11-29T12:00:00.000Z", "level": "INFO", "message": "an order was accepted",
            "trace_id": trace(255), "span_id": format!("{:016x}", 255),
        });
        let address = SocketAddr::from(([127, 0, 0, 1], self.port(5044)));
        let mut socket = tokio::net::TcpStream::connect(address).await?;
        socket.write_all(format!("{line}\n").as_bytes()).await?;
        socket.flush().await?;
        Ok(())
    }
}

/// The same configuration, which prints instead of sending to what is away.
fn printing(config: &str) -> Result<String> {
    let mut printing = String::with_capacity(config.len());
    let mut is_replaced = false;
    for line in config.lines() {
        let indent = line.len() - line.trim_start().len();
        let replacement = match line {
            "  otlp_grpc/jaeger:" => Some("  debug/jaeger:\n    verbosity: detailed\n"),
            "  elasticsearch:" => Some("  debug/elasticsearch:\n    verbosity: detailed\n"),
            _ => None,
        };
        if let Some(replacement) = replacement {
            printing.push_str(replacement);
            is_replaced = true;
            continue;
        }
        is_replaced = is_replaced && (indent > 2 || line.is_empty());
        if !is_replaced {
            let line = line
                .replace("[otlp_grpc/jaeger]", "[debug/jaeger]")
                .replace("[elasticsearch]", "[debug/elasticsearch]");
            printing.push_str(&line);
            printing.push('\n');
        }
    }
    ensure!(printing.matches("debug/").count() == 4, "the shipped configuration has other outputs now:\n{printing}");
    Ok(printing)
}

/// Kinds of spans in OTLP.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// In OTLP's JSON.
fn spans(number: u64, has_failed: bool) -> Value {
    let status: i64 = if has_failed { 503 } else { 201 };
    let attribute = |key: &str, value: &Value| {
        let value = value
            .as_i64()
            .map_or_else(|| json!({"stringValue": value}), |number| json!({"intValue": number.to_string()}));
        json!({"key": key, "value": value})
    };
    let span = |id: u64, parent: Option<u64>, kind: u8, name: &str, attributes: &[(&str, Value)]| {
        let attributes: Vec<Value> = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
        let mut span = json!({
            "traceId": trace(number), "spanId": format!("{:016x}", (number << 8) | id), "kind": kind, "name": name,
            "startTimeUnixNano": "1796000000000000000", "endTimeUnixNano": "1796000000020000000",
            "attributes": attributes, "status": {"code": if has_failed { 2 } else { 0 }},
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = json!(format!("{:016x}", (number << 8) | parent));
        }
        span
    };
    let of = |service: &str, spans: Vec<Value>| json!({"resource": {"attributes": [attribute("service.name", &json!(service))]}, "scopeSpans": [{"spans": spans}]});
    let http = |route: &'static str| {
        [
            ("http.request.method", json!("POST")),
            (route, json!("/v1/orders")),
            ("http.response.status_code", json!(status)),
        ]
    };
    let callee = |name: &str| [("peer.service", json!(name)), ("service.peer.name", json!(name))];
    let charge = [
        ("rpc.system.name", json!("grpc")),
        ("rpc.method", json!("amends.payments.v1.PaymentService/Charge")),
        ("rpc.status_code", json!("OK")),
    ];
    let insert = [("db.system.name", json!("postgresql")), ("db.operation.name", json!("INSERT"))];
    json!({"resourceSpans": [
        of("gateway", vec![
            span(1, None, SERVER, "POST /v1/orders", &http("http.route")),
            span(2, Some(1), CLIENT, "POST", &[http("url.template").as_slice(), &callee("order-service")].concat()),
        ]),
        of("order-service", vec![
            span(3, Some(2), SERVER, "POST /v1/orders", &http("http.route")),
            span(4, Some(3), CLIENT, "INSERT orders", &[insert.as_slice(), &callee("postgresql")].concat()),
            span(5, Some(3), CLIENT, "charge", &[charge.as_slice(), &callee("payment-service")].concat()),
        ]),
        of("payment-service", vec![span(6, Some(5), SERVER, "charge", &charge)]),
    ]})
}
