//! What to record, and where it goes.

use std::path::PathBuf;

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
    /// `http://host:4317`: where spans go by OTLP over gRPC. None are sent without it.
    pub otlp_endpoint: Option<String>,
    /// Per cent of traces that begin here and are sent. What callers have decided is kept.
    pub sample_percent: f64,
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
            sample_percent: 100.0,
            logstash: None,
            logstash_queue_max: 8192,
            logstash_tls: false,
            logstash_ca_file: None,
            recent_kib: 1024,
        }
    }
}

impl Config {
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
        if !(0.0..=100.0).contains(&self.sample_percent) {
            mistakes.push(("sample_percent", "must be from 0 to 100".to_owned()));
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
