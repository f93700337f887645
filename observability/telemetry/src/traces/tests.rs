//! Spans on their way: over gRPC in TLS, over HTTP, with headers, and under the names of several services.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message as _;

use super::*;
use crate::{LogTo, OtlpHeaders, OtlpProtocol, build};

const HEADERS: &str = "Authorization=Bearer secret-key,x-tenant=7";
const PATIENCE: Duration = Duration::from_secs(20);

fn config(endpoint: String) -> Config {
    Config {
        service_name: "amends".to_owned(),
        log: LogTo::Off,
        otlp_endpoint: Some(endpoint),
        otlp_headers: OtlpHeaders::from(HEADERS),
        ..Config::default()
    }
}

/// A span of one of the services of this process.
fn span_of(service: &'static str, name: &'static str) {
    let _attached = Context::new().with_value(OfService(service)).attach();
    tracing::info_span!("work", otel.name = name).in_scope(|| {});
}

/// Sends a span of each of two services, and gives what the collector was told.
fn send(config: &Config, told: &mpsc::Receiver<(String, ExportTraceServiceRequest)>) -> Vec<(String, String, String)> {
    let (dispatch, guard) = build(config).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        span_of("gateway", "a");
        span_of("order-service", "b");
    });
    let mut received = Vec::new();
    let since = Instant::now();
    while received.len() < 2 && since.elapsed() < PATIENCE {
        let Ok((authorization, request)) = told.recv_timeout(PATIENCE) else { break };
        for part in request.resource_spans {
            let resource = format!("{:?}", part.resource.unwrap().attributes);
            let service =
                ["gateway", "order-service", "amends"].into_iter().find(|name| resource.contains(&format!("{name:?}")));
            for span in part.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                received.push((authorization.clone(), service.unwrap().to_owned(), span.name));
            }
        }
    }
    received.sort();
    drop((dispatch, guard));
    received
}

fn expected() -> Vec<(String, String, String)> {
    [("gateway", "a"), ("order-service", "b")]
        .map(|(service, name)| ("Bearer secret-key".to_owned(), service.to_owned(), name.to_owned()))
        .to_vec()
}

struct Collector(mpsc::Sender<(String, ExportTraceServiceRequest)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let authorization = request.metadata().get("authorization").map_or("", |value| value.to_str().unwrap());
        let _ = self.0.send((authorization.to_owned(), request.into_inner()));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_go_over_grpc_with_tls_and_headers() {
    // As every program does first.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let identity = tonic::transport::Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tell, told) = mpsc::channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .tls_config(tonic::transport::ServerTlsConfig::new().identity(identity))
        .unwrap()
        .add_service(TraceServiceServer::new(Collector(tell)));
    runtime.spawn(server.serve_with_incoming(incoming));

    let trusted = Config { otlp_ca_file: Some(ca_file), ..config(format!("https://localhost:{port}")) };
    assert_eq!(send(&trusted, &told), expected());
}

#[test]
fn spans_go_over_http_with_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell, stream) = (tell.clone(), stream.unwrap());
            std::thread::spawn(move || serve(stream, &tell));
        }
    });
    let over_http = Config { otlp_protocol: OtlpProtocol::Http, ..config(endpoint) };
    assert_eq!(send(&over_http, &told), expected());
}

/// One connection over HTTP/1.1.
fn serve(mut stream: std::net::TcpStream, tell: &mpsc::Sender<(String, ExportTraceServiceRequest)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut length, mut authorization, mut line) = (0, String::new(), String::new());
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => value.clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let _ = tell.send((authorization, ExportTraceServiceRequest::decode(&*body).unwrap()));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

#[test]
fn keys_in_headers_are_not_shown() {
    let config = config("http://127.0.0.1:1".to_owned());
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("secret-key"), "{shown}");
    for bad in ["no-value", "a b=c", "a=\u{e9}"] {
        let mistaken = Config { otlp_headers: OtlpHeaders::from(bad), ..Config::default() };
        assert_eq!(mistaken.mistakes().len(), 1, "{bad}");
    }
}
