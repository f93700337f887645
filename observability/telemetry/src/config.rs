//! What to record, and where it goes.

use std::path::PathBuf;

use opentelemetry_sdk::trace::IdGenerator as _;
use serde::{Deserialize, Serialize};

/// More is for a log store to keep.
const RECENT_KIB_MAX: usize = 1024 * 1024;

/// A queue's places are reserved when it is made, 24 bytes each.
const QUEUE_LINES_MAX: usize = 1_000_000;

/// `[telemetry]`: logs and traces of this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The service's name in logs and traces; the program's own when empty.
    pub service_name: String,
    /// Its version.
    pub service_version: String,
    /// Where it runs: `development`, `production`, …
    pub environment: String,
    /// What to record: a level, or directives such as `info,order_service=debug`.
    pub filter: String,
    /// Where the log goes.
    pub log: LogTo,
    /// The file, for `log = "file"`.
    pub log_file: PathBuf,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Log lines that wait to be written, 16 MiB of them at most; the next is dropped and counted. Lines wait while the reader of a pipe
    /// or the disk does not keep up.
    pub log_queue_max: usize,
    /// `http://host:4317` or `https://host`: where spans go by OTLP. None are sent without it.
    pub otlp_endpoint: Option<String>,
    /// Over gRPC (usually port 4317) or HTTP (4318; `/v1/traces` is added to the endpoint).
    pub otlp_protocol: OtlpProtocol,
    /// Headers sent along, as hosted backends want their keys: `name=value,name=value`. Not shown anywhere.
    pub otlp_headers: OtlpHeaders,
    /// Certificates in PEM that an `https` endpoint is trusted by; the system's without it.
    pub otlp_ca_file: Option<PathBuf>,
    /// This process among those of its service, in traces; chosen by chance when empty.
    pub instance_id: String,
    /// Per cent of traces that begin here and are sent. What our own services have decided is kept.
    pub sample_percent: f64,
    /// Per cent of traces that are recorded, to be sent although they were not sampled if something in them failed, was tried again or
    /// undone, or was slow.
    pub record_percent: f64,
    /// Traces that are recorded a second at the most, sampled or not.
    pub traces_per_second: u32,
    /// Milliseconds from which on a span is slow.
    pub slow_ms: u64,
    /// `host:port`: where log lines go as JSON over TCP (Logstash). None are sent without it.
    pub logstash: Option<String>,
    /// Log lines that wait for the shipper; the next is dropped and counted. Those on their way, 8 MiB of them at most, wait elsewhere.
    pub logstash_queue_max: usize,
    /// Whether lines are shipped in TLS.
    pub logstash_tls: bool,
    /// Certificates in PEM that the sink is trusted by; the system's without it. For `logstash_tls`.
    pub logstash_ca_file: Option<PathBuf>,
    /// KiB of this process's memory for the latest lines of orders' stories, warnings and errors, which `amends logs` shows. 0 keeps
    /// none.
    pub recent_kib: usize,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File,
    /// Nowhere.
    Off,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For machines: bunyan JSON.
    Bunyan,
    /// For people.
    Pretty,
    /// For people on a terminal, else for machines.
    Auto,
}

/// How spans go to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// HTTP, in binary protobuf.
    Http,
}

/// Headers with keys in them: not shown by `Debug`, and not written out.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct OtlpHeaders(String);

impl OtlpHeaders {
    /// Names and values, as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,name=value`.
    pub(crate) fn pairs(&self) -> Result<Vec<(String, String)>, &'static str> {
        let pairs = self.0.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').ok_or("must be name=value, separated by commas")?;
                let name = name.trim().to_ascii_lowercase();
                let is_name =
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                let is_value = value.bytes().all(|b| (b' '..=b'~').contains(&b));
                if is_name && is_value {
                    Ok((name, value.trim().to_owned()))
                } else {
                    Err("must be names and values of headers")
                }
            })
            .collect()
    }
}

impl From<&str> for OtlpHeaders {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for OtlpHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "[REDACTED]" })
    }
}

impl Serialize for OtlpHeaders {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "[REDACTED]" })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_name: String::new(),
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: "development".to_owned(),
            filter: "info".to_owned(),
            log: LogTo::Stdout,
            log_file: PathBuf::from("amends.log"),
            log_format: LogFormat::Auto,
            log_queue_max: 8192,
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::Grpc,
            otlp_headers: OtlpHeaders::default(),
            otlp_ca_file: None,
            instance_id: String::new(),
            sample_percent: 100.0,
            record_percent: 100.0,
            traces_per_second: 100,
            slow_ms: 1_000,
            logstash: None,
            logstash_queue_max: 8192,
            logstash_tls: false,
            logstash_ca_file: None,
            recent_kib: 1024,
        }
    }
}

impl Config {
    /// This process among those of its service (OpenTelemetry's `service.instance.id`).
    pub(crate) fn instance_id(&self) -> String {
        if self.instance_id.is_empty() {
            opentelemetry_sdk::trace::RandomIdGenerator::default().new_trace_id().to_string()
        } else {
            self.instance_id.clone()
        }
    }

    /// Whether the filter names the lines of orders' stories.
    pub(crate) fn tells_stories(&self) -> bool {
        self.filter.split(',').any(|directive| directive.trim().split(['=', '[']).next() == Some(crate::STORY))
    }

    /// What is wrong with it: keys and sentences.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.filter) {
            mistakes.push(("filter", error.to_string()));
        }
        for (key, percent) in [("sample_percent", self.sample_percent), ("record_percent", self.record_percent)] {
            if !(0.0..=100.0).contains(&percent) {
                mistakes.push((key, "must be from 0 to 100".to_owned()));
            }
        }
        if self.traces_per_second == 0 {
            mistakes.push(("traces_per_second", "must be at least 1".to_owned()));
        }
        if self.slow_ms == 0 {
            mistakes.push(("slow_ms", "must be at least 1".to_owned()));
        }
        if let Err(error) = self.otlp_headers.pairs() {
            mistakes.push(("otlp_headers", error.to_owned()));
        }
        if self.otlp_endpoint.as_deref().is_some_and(|url| !(url.starts_with("http://") || url.starts_with("https://")))
        {
            mistakes.push(("otlp_endpoint", "must be an http or https URL".to_owned()));
        }
        if self
            .logstash
            .as_deref()
            .is_some_and(|address| address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()))
        {
            mistakes.push(("logstash", "must be host:port".to_owned()));
        }
        for (key, lines) in [("log_queue_max", self.log_queue_max), ("logstash_queue_max", self.logstash_queue_max)] {
            if !(1..=QUEUE_LINES_MAX).contains(&lines) {
                mistakes.push((key, format!("must be from 1 to {QUEUE_LINES_MAX}")));
            }
        }
        if self.logstash_ca_file.is_some() && !self.logstash_tls {
            mistakes.push(("logstash_ca_file", "is of use with logstash_tls only".to_owned()));
        }
        if self.recent_kib > RECENT_KIB_MAX {
            mistakes.push(("recent_kib", format!("must be at most {RECENT_KIB_MAX}")));
        }
        mistakes
    }
}
