//! Spans to a collector, by OTLP over gRPC.

use std::{
    fmt,
    sync::mpsc,
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};

use crate::{BoxLayer, Config, InitError, sampling};

const EXPORT_MAX: Duration = Duration::from_secs(5);
/// Spans waiting for export; about 1 KiB each. More are dropped.
const QUEUE_MAX: usize = 8192;

/// The provider, and the thread its connection lives on.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
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
        let Self { provider, runtime } = self;
        let work = move || {
            // Failing means that the collector did not take the last spans in time; there is no sink left to report it to.
            let _ = provider.shutdown_with_timeout(deadline.saturating_duration_since(Instant::now()));
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
pub(crate) fn start(config: &Config) -> Result<Option<(Traces, BoxLayer)>, InitError> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", config.service_version.clone()),
            KeyValue::new("deployment.environment.name", config.environment.clone()),
        ])
        .build();
    // The exporter's connection lives on a runtime of its own: it must work while ours is busy, or ending.
    let (handle, stop) = start_runtime()?;
    let _entered = handle.enter();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_MAX)
        .build()
        .map_err(|error| InitError::Exporter(error.into()))?;
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_scheduled_delay(Duration::from_secs(1))
        .build();
    let root = sampling::of_percent(config.sample_percent);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch).build())
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer("amends"));
    Ok(Some((Traces { provider, runtime: stop }, Box::new(layer))))
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
