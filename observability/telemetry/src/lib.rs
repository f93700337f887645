//! Logs and traces, set up once for every process.
//!
//! - Console: bunyan JSON for machines, or lines for people; to standard output, a file, or nowhere; from a bounded queue.
//! - Shipper: the same records over TCP or TLS to Logstash, from a bounded queue. It never makes a caller wait: what does not fit is
//!   dropped and counted.
//! - Recent lines: orders' stories and what went wrong, in a ring of this process's memory, for an operator who asks.
//! - Traces: OTLP over gRPC or HTTP. Where nothing is exported no span is made for it; a request's context has ids all the same, which logs and
//!   answers carry.
//!
//! No sink blocks the program, whatever it does: not while it runs, and at its end for no longer than [`FLUSH_MAX`].
//!
//! Must not know: any service, any domain, the metrics registry (it hands out its counters to be registered).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod callsite;
mod config;
mod console;
mod fields;
mod json;
mod lean;
pub mod names;
mod outq;
mod panics;
pub mod recent;
mod shipper;
mod sink;
pub mod stderr;
mod traces;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use tracing::Dispatch;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter::LevelFilter, layer::SubscriberExt as _};

pub use config::{Config, LogFormat, LogTo, OtlpHeaders, OtlpProtocol};
pub use fields::{CorrelationSource, correlate_by};
pub use shipper::{LossLabels, ShipperMeters};
pub use sink::SinkMeters;
pub use traces::{Edge, OfService, STATE_KEY, SpanLossLabels, SpanMeters};

type BoxLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// How long the end of the process waits for all sinks together. One that takes what it is given needs a few milliseconds.
pub const FLUSH_MAX: Duration = Duration::from_millis(500);

/// The target of lines that tell an order's story. They are shipped and kept; the console leaves them out unless its filter names it.
pub const STORY: &str = "story";

/// This process's console, once it is installed.
static CONSOLE: OnceLock<sink::Sink> = OnceLock::new();

/// What our libraries say below "warn" is of no use to operators, and what the exporter's own connection says would be
/// exported in turn, for ever. A filter that names one of them wins over this.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,reqwest=warn,rustls=warn,opentelemetry=warn,\
opentelemetry_sdk=warn,opentelemetry-otlp=warn,sqlx=warn,mongodb=warn,pingora=warn,pingora_core=warn,pingora_proxy=warn";

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error("the log filter is not valid")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging has been set up already.
    #[error("logging is set up already")]
    AlreadySet(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log file cannot be opened.
    #[error("the log file cannot be opened")]
    File(#[source] std::io::Error),
    /// The format of log lines cannot be set up.
    #[error("the format of log lines cannot be set up")]
    Console(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A thread for shipping or exporting cannot be started.
    #[error("a telemetry thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The certificates that the sink is trusted by cannot be used.
    #[error("the certificates of telemetry.logstash_ca_file cannot be used")]
    Certificates(#[source] std::io::Error),
    /// The exporter of spans cannot be built.
    #[error("the exporter of spans cannot be built")]
    Exporter(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of log lines on their way to Logstash and to the console, and of spans on theirs to a collector.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    /// Of the console: standard output, standard error or a file.
    pub console: SinkMeters,
    /// Of the shipper.
    pub shipper: ShipperMeters,
    /// Of spans on their way to the collector.
    pub spans: SpanMeters,
}

/// Keeps telemetry going; when dropped, sends what is waiting, for [`FLUSH_MAX`] at most.
#[derive(Debug)]
pub struct Guard {
    meters: Meters,
    console: Option<sink::Sink>,
    traces: Option<traces::Traces>,
    shipper: Option<shipper::Shipper>,
    recent: Option<recent::Recent>,
}

impl Guard {
    /// The counters of console and shipper, to be registered among the process's metrics.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_MAX;
        // All at once, and each until the same moment.
        let traces = self.traces.take().map(|traces| traces.end(deadline));
        if let Some(shipper) = &self.shipper {
            shipper.end();
        }
        if let Some(console) = &self.console {
            console.flush(deadline);
        }
        if let Some(shipper) = &self.shipper {
            shipper.ended(deadline);
        }
        if let Some(traces) = traces {
            traces.ended(deadline);
        }
    }
}

/// Waits until what was logged so far is on this process's console, `bound` at most: for code that is about to end the process.
pub fn flush(bound: Duration) {
    if let Some(console) = CONSOLE.get() {
        console.flush(Instant::now() + bound);
    }
}

/// Sets up logs and traces for this process, those of the `log` crate and panics included.
///
/// # Errors
/// See [`InitError`].
#[expect(clippy::needless_pass_by_value, reason = "the caller has no further use for the configuration")]
pub fn init(config: Config) -> Result<Guard, InitError> {
    let (dispatch, guard) = build(&config)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|error| InitError::AlreadySet(error.into()))?;
    // Fails where `log` is taken already; then its lines go to the logger that was first.
    let _ = tracing_log::LogTracer::builder().with_max_level(tracing_log::log::LevelFilter::Info).init();
    opentelemetry::global::set_text_map_propagator(opentelemetry_sdk::propagation::TraceContextPropagator::new());
    panics::install(guard.console.is_some() || guard.shipper.is_some());
    if let Some(console) = &guard.console {
        // Set once: a second `init` has failed above.
        let _ = CONSOLE.set(console.clone());
    }
    if let Some(recent) = &guard.recent {
        recent::install(recent.clone());
    }
    Ok(guard)
}

/// Builds what [`init`] installs, for tests and for callers that install it in another way.
///
/// # Errors
/// See [`InitError`]; never [`InitError::AlreadySet`].
pub fn build(config: &Config) -> Result<(Dispatch, Guard), InitError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.filter)).map_err(InitError::Filter)?;
    let meters = Meters::default();
    meters.shipper.begin();
    meters.spans.begin();
    let (traces, spans) = traces::start(config, meters.spans.clone())?.unzip();
    let mut layers: Vec<BoxLayer> = Vec::from_iter(spans);
    let (lines, console) = console::layers(config, meters.console.clone())?;
    layers.extend(lines);
    let mut shipper = None;
    if let Some(address) = &config.logstash {
        let sink = if config.logstash_tls {
            shipper::Sink::tls(address, config.logstash_ca_file.as_deref()).map_err(InitError::Certificates)?
        } else {
            shipper::Sink::plain(address)
        };
        let started = shipper::Shipper::start(sink, config.logstash_queue_max, meters.shipper.clone())?;
        layers.push(Box::new(lean::LeanLayer::new(config, started.sender())));
        shipper = Some(started);
    }
    let recent = (config.recent_kib > 0).then(|| recent::Recent::new(config.recent_kib * 1024, &config.service_name));
    let filter = read_by(filter, config, !layers.is_empty(), shipper.is_some(), recent.is_some())?;
    if let Some(recent) = &recent {
        layers.push(Box::new(recent::RecentLayer(recent.clone())));
    }
    let dispatch = Dispatch::new(Registry::default().with(layers).with(filter));
    if let Some(console) = &console {
        console.tell_to(dispatch.downgrade());
    }
    Ok((dispatch, Guard { meters, console, traces, shipper, recent }))
}

/// The filter without what nothing reads: that is not made.
fn read_by(
    filter: EnvFilter,
    config: &Config,
    by_others: bool,
    by_shipper: bool,
    by_recent: bool,
) -> Result<EnvFilter, InitError> {
    let names_story = config.tells_stories();
    let tells_stories = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::INFO);
    match (by_others, by_recent) {
        (false, false) => Ok(EnvFilter::new("off")),
        (false, true) if tells_stories => Ok(EnvFilter::new(format!("warn,{STORY}=info"))),
        (true, false) if !by_shipper && !names_story => {
            EnvFilter::try_new(format!("{QUIET},{},{STORY}=warn", config.filter)).map_err(InitError::Filter)
        }
        _ => Ok(filter),
    }
}

#[cfg(test)]
mod tests;
