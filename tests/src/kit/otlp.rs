//! A collector of our own: takes spans by OTLP over gRPC and keeps them, for tests that look at traces.
//!
//! Must not know: what the spans are about.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};

/// A span, and whose it is.
#[derive(Debug, Clone)]
pub struct Received {
    /// The resource's `service.name`.
    pub service: String,
    /// The resource's attributes.
    pub resource: BTreeMap<String, Value>,
    /// Whose names the attributes have.
    pub schema_url: String,
    /// As it was sent.
    pub span: Span,
}

impl Received {
    /// An attribute, as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.span.attributes.iter().find(|known| known.key == key).and_then(|known| shown(known.value.as_ref()))
    }

    /// The trace's id, in hex.
    pub fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// Whether it says that it failed.
    pub fn failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }

    /// `SERVER`, `CLIENT`, `INTERNAL` …
    pub fn kind(&self) -> &'static str {
        match self.span.kind() {
            SpanKind::Server => "SERVER",
            SpanKind::Client => "CLIENT",
            SpanKind::Producer => "PRODUCER",
            SpanKind::Consumer => "CONSUMER",
            SpanKind::Internal | SpanKind::Unspecified => "INTERNAL",
        }
    }
}

fn shown(value: Option<&AnyValue>) -> Option<String> {
    Some(match value?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The collector. Ends with its last clone's runtime.
#[derive(Debug, Clone)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Received>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut kept = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for part in request.into_inner().resource_spans {
            let attributes = part.resource.unwrap_or_default().attributes;
            let resource: BTreeMap<String, Value> =
                attributes.into_iter().filter_map(|attribute| Some((attribute.key, attribute.value?.value?))).collect();
            let service = match resource.get("service.name") {
                Some(Value::StringValue(name)) => name.clone(),
                _ => String::new(),
            };
            for span in part.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let (service, resource, schema_url) = (service.clone(), resource.clone(), part.schema_url.clone());
                kept.push(Received { service, resource, schema_url, span });
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let collector = Self { address: listener.local_addr()?, spans: Arc::default() };
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(collector)
    }

    /// For `telemetry.otlp_endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans that came until now.
    pub fn spans(&self) -> Vec<Received> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of one trace, once they are a whole tree in which `is_whole` finds all it looks for.
    ///
    /// # Errors
    /// When that is not so within 20 seconds: with the tree as it is.
    pub async fn tree(&self, trace: &str, is_whole: impl Fn(&Tree) -> bool) -> Result<Tree> {
        let mut last = Tree::default();
        for _ in 0..200 {
            last = Tree::of(self.spans().into_iter().filter(|span| span.trace() == trace));
            if last.gaps().is_empty() && last.roots().len() == 1 && is_whole(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the trace {trace} is not whole:\n{last}\ngaps: {:?}", last.gaps())
    }
}

/// The spans of one trace.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    spans: Vec<Received>,
}

impl Tree {
    /// Of these.
    pub fn of(spans: impl IntoIterator<Item = Received>) -> Self {
        let mut spans: Vec<_> = spans.into_iter().collect();
        spans.sort_by_key(|one| one.span.start_time_unix_nano);
        Self { spans }
    }

    /// All of them, the first to begin first.
    pub fn spans(&self) -> &[Received] {
        &self.spans
    }

    /// Those without a parent.
    pub fn roots(&self) -> Vec<&Received> {
        self.spans.iter().filter(|one| one.span.parent_span_id.is_empty()).collect()
    }

    /// Those whose parent is named and not here.
    pub fn gaps(&self) -> Vec<&str> {
        let known: BTreeSet<_> = self.spans.iter().map(|one| &one.span.span_id).collect();
        let is_gap = |one: &&Received| !one.span.parent_span_id.is_empty() && !known.contains(&one.span.parent_span_id);
        self.spans.iter().filter(is_gap).map(|one| one.span.name.as_str()).collect()
    }

    /// The parent of a span.
    ///
    /// # Errors
    /// When it is not here.
    pub fn parent(&self, of: &Received) -> Result<&Received> {
        let found = self.spans.iter().find(|one| one.span.span_id == of.span.parent_span_id);
        found.with_context(|| format!("the parent of {} is not here", of.span.name))
    }

    /// Which service calls which, as a service graph finds it: by the spans, and by what clients say of those who have none. Sorted.
    pub fn edges(&self) -> BTreeSet<(String, String)> {
        let mut edges = BTreeSet::new();
        for one in &self.spans {
            if let Ok(parent) = self.parent(one)
                && parent.service != one.service
            {
                edges.insert((parent.service.clone(), one.service.clone()));
            }
            let is_answered =
                |other: &&Received| other.kind() == "SERVER" && other.span.parent_span_id == one.span.span_id;
            let is_answered = self.spans.iter().any(|other| is_answered(&other));
            if let (false, "CLIENT", Some(peer)) = (is_answered, one.kind(), one.text("peer.service")) {
                edges.insert((one.service.clone(), peer));
            }
        }
        edges
    }

    /// One line a span, indented under its parent: service, kind, name, and that it failed.
    fn lines(&self, of: &[u8], depth: usize, out: &mut Vec<String>) {
        for one in self.spans.iter().filter(|one| one.span.parent_span_id == of) {
            let failed = if one.failed() { " FAILED" } else { "" };
            out.push(format!(
                "{:indent$}{} {} {}{failed}",
                "",
                one.service,
                one.kind(),
                one.span.name,
                indent = 2 * depth
            ));
            self.lines(&one.span.span_id, depth + 1, out);
        }
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = Vec::new();
        self.lines(&[], 0, &mut lines);
        f.write_str(&lines.join("\n"))
    }
}
