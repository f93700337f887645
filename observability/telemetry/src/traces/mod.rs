//! Spans to a collector, by OTLP.

mod exporter;
mod meters;
mod sampling;
mod services;
mod tail;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanProcessor},
};

use self::{exporter::Connector, meters::Counted, sampling::Head, services::ByService, tail::Tail};
use crate::{BoxLayer, Config, InitError, names::attribute};

pub use meters::{SpanLossLabels, SpanMeters};
pub use sampling::{Edge, OfService, STATE_KEY};

/// Spans waiting for export; about 1 KiB each. More are dropped.
const QUEUE_MAX: usize = 8192;
/// The names of attributes are those of this version.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.45.0";

/// The provider, and the thread its connection lives on.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    counted: Counted,
    /// Ends the thread when it is dropped.
    runtime: tokio::sync::oneshot::Sender<()>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Has what is waiting sent, until `deadline`, beside the caller: a collector may take its time, or a name that is being resolved.
    pub(crate) fn end(self, deadline: Instant) -> Ending {
        let (done, ended) = mpsc::sync_channel::<()>(0);
        let Self { provider, counted, runtime } = self;
        let work = move || {
            // Failing means that the collector did not take the last spans in time; there is no sink left to report it to.
            let _ = provider.shutdown_with_timeout(deadline.saturating_duration_since(Instant::now()));
            counted.given_up();
            drop((runtime, done));
        };
        if let Err(error) = std::thread::Builder::new().name("otlp-end".to_owned()).spawn(work) {
            tracing::warn!(%error, "the last spans cannot be sent");
        }
        Ending(ended)
    }
}

/// The end of tracing, under way.
pub(crate) struct Ending(mpsc::Receiver<()>);

impl Ending {
    /// Waits for it, at most until `deadline`.
    pub(crate) fn ended(&self, deadline: Instant) {
        let _timeout = self.0.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Starts tracing, and gives the layer that turns spans into traces; nothing where no endpoint is to get them. Work still has ids then,
/// and its callers' travel on: a request's context has them, whether a span is recorded or not.
pub(crate) fn start(config: &Config, meters: SpanMeters) -> Result<Option<(Traces, BoxLayer)>, InitError> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    // The exporter's connection lives on a runtime of its own: it must work while ours is busy, or ending.
    let (handle, stop) = start_runtime()?;
    let counted = Counted::new(meters, QUEUE_MAX);
    let connector = Connector::new(config, endpoint, &handle)?;
    let exporter = ByService::new(connector, &config.service_name, counted.clone());
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(2 * QUEUE_MAX)
        .with_scheduled_delay(Duration::from_secs(1))
        .build();
    let sender = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
    let tail = Mutex::new(Tail::new(Duration::from_millis(config.slow_ms)));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(config))
        .with_span_processor(Chosen { sender, tail, counted: counted.clone() })
        .with_sampler(Head::new(config))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer("amends"));
    Ok(Some((Traces { provider, counted, runtime: stop }, Box::new(layer))))
}

fn resource(config: &Config) -> Resource {
    let attributes = [
        KeyValue::new(attribute::SERVICE_VERSION, config.service_version.clone()),
        KeyValue::new(attribute::SERVICE_NAMESPACE, "amends"),
        KeyValue::new(attribute::SERVICE_INSTANCE_ID, config.instance_id()),
        KeyValue::new("deployment.environment.name", config.environment.clone()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    // What `OTEL_RESOURCE_ATTRIBUTES` says goes before.
    Resource::builder().with_schema_url(attributes, SCHEMA).with_service_name(config.service_name.clone()).build()
}

/// Hands on what is to be sent, as far as there is room.
#[derive(Debug)]
struct Chosen {
    sender: BatchSpanProcessor,
    tail: Mutex<Tail>,
    counted: Counted,
}

impl Chosen {
    fn send(&self, span: SpanData) {
        if self.counted.may_wait() {
            self.sender.on_end(span);
        }
    }
}

impl SpanProcessor for Chosen {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            return self.send(span);
        }
        let chosen = self.tail.lock().unwrap_or_else(PoisonError::into_inner).ended(span);
        for span in chosen {
            self.send(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sender.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sender.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.sender.set_resource(resource);
    }
}

type Started = (tokio::runtime::Handle, tokio::sync::oneshot::Sender<()>);

fn start_runtime() -> Result<Started, InitError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(InitError::Thread)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("otlp-export".to_owned())
        .spawn(move || {
            let _ = tell.send(runtime.handle().clone());
            // Ends when the other half is dropped.
            let _ = runtime.block_on(stopped);
            // A name that is being resolved would otherwise be waited for.
            runtime.shutdown_background();
        })
        .map_err(InitError::Thread)?;
    let handle = told.recv().map_err(|_| InitError::Thread(std::io::ErrorKind::BrokenPipe.into()))?;
    Ok((handle, stop))
}
