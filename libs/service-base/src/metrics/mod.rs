//! One registry of metrics per process, in Prometheus's text formats, with exemplars of traces that are kept.

mod calls;
mod page;
mod process;

use std::{any::Any, borrow::Cow, collections::HashMap, fmt, sync::Arc};

use opentelemetry::trace::TraceContextExt as _;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        MetricType,
        counter::Counter,
        exemplar::HistogramWithExemplars,
        family::{Family, MetricConstructor},
        gauge::Gauge,
    },
    registry::{Metric, Registry},
};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use calls::{HttpCall, HttpCalls, StoreCalls, requests_shed};
pub use page::Format;

/// Seconds; the boundaries that OpenTelemetry advises for HTTP and RPC durations.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The label of an exemplar: which trace to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabel {
    /// The trace's id in hex.
    pub trace_id: String,
}

impl TraceLabel {
    /// The trace of a span, if it is recorded and sampled: an exemplar of any other leads nowhere.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let trace = span.span_context();
        (trace.is_valid() && trace.is_sampled()).then(|| Self { trace_id: trace.trace_id().to_string() })
    }

    /// Of the span that is entered.
    pub fn current() -> Option<Self> {
        Self::of(&tracing::Span::current())
    }
}

/// A histogram of seconds whose buckets carry the trace of a recent observation.
pub type Durations = HistogramWithExemplars<TraceLabel>;

/// Makes [`Durations`] with [`DURATION_BUCKETS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NewDurations;

impl MetricConstructor<Durations> for NewDurations {
    fn new_metric(&self) -> Durations {
        Durations::new(DURATION_BUCKETS.into_iter())
    }
}

/// [`Durations`] by labels.
pub type DurationFamily<Labels> = Family<Labels, Durations, NewDurations>;

#[derive(Default)]
struct Inner {
    registry: Registry,
    /// By name: what was registered, so that the second service of one process shares the first one's.
    known: HashMap<Cow<'static, str>, Box<dyn Any + Send + Sync>>,
}

/// The metrics of this process. Clones share one registry.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Inner>>);

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The metric of this name, made and registered at the first call; later calls, from whichever service, share it.
    ///
    /// Counters get their `_total` suffix when written out; a name that ends in it already is not given a second one.
    pub fn get_or_register<M: Metric + Clone>(&self, name: &str, help: &str, make: impl FnOnce() -> M) -> M {
        let mut inner = self.0.lock();
        if let Some(known) = inner.known.get(name) {
            if let Some(metric) = known.downcast_ref::<M>() {
                return metric.clone();
            }
            // A metric that is not exported is better than a process that does not start, or than two series of one name.
            tracing::error!(metric = name, "registered before as another type; this one is not shown");
            debug_assert!(false, "metric {name} was registered as another type");
            return make();
        }
        let metric = make();
        let shown = match metric.metric_type() {
            MetricType::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        // The registry ends the help text with a full stop.
        inner.registry.register(shown, help.strip_suffix('.').unwrap_or(help), metric.clone());
        inner.known.insert(Cow::Owned(name.to_owned()), Box::new(metric.clone()));
        metric
    }

    /// Registers `metric`, unless that name is taken: then the earlier one stays. Prefer [`Metrics::get_or_register`],
    /// which hands back the one that is shown.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) {
        self.get_or_register(name, help, || metric);
    }

    /// A counter by labels.
    pub fn counter<L>(&self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
    {
        self.get_or_register(name, help, Family::default)
    }

    /// A gauge by labels.
    pub fn gauge<L>(&self, name: &str, help: &str) -> Family<L, Gauge>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
    {
        self.get_or_register(name, help, Family::default)
    }

    /// A histogram of seconds by labels, with exemplars.
    pub fn durations<L>(&self, name: &str, help: &str) -> DurationFamily<L>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
    {
        self.get_or_register(name, help, || Family::new_with_constructor(NewDurations))
    }

    /// Shows what this process uses: memory, processor time, open files. A second call has no effect.
    pub fn register_process(&self) {
        let mut inner = self.0.lock();
        if inner.known.insert(Cow::Borrowed("process"), Box::new(())).is_none() {
            inner.registry.register_collector(Box::new(process::Process));
        }
    }

    /// Everything registered, in that format.
    pub fn encode_as(&self, format: Format) -> String {
        match format {
            Format::OpenMetrics => self.encode(),
            Format::Text => page::to_text(&self.encode()),
        }
    }

    /// Everything registered, as OpenMetrics.
    pub fn encode(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        if text::encode(&mut page, &self.0.lock().registry).is_err() {
            tracing::error!("the metrics could not be written out");
        }
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_services_of_one_process_share_a_metric() {
        let metrics = Metrics::new();
        let first = metrics.get_or_register("orders_total", "Orders.", Counter::<u64>::default);
        let second = metrics.get_or_register("orders_total", "Orders.", Counter::<u64>::default);
        first.inc();
        second.inc();
        let page = metrics.encode();
        assert_eq!(page, "# HELP orders Orders.\n# TYPE orders counter\norders_total 2\n# EOF\n");
    }

    #[test]
    fn durations_carry_the_trace_of_an_observation() {
        let metrics = Metrics::new();
        let family = metrics.durations::<Vec<(String, String)>>("wait_seconds", "Waits");
        let label = TraceLabel { trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned() };
        family.get_or_create(&vec![("to".to_owned(), "db".to_owned())]).observe(0.02, Some(label), None);
        let page = metrics.encode();
        assert!(
            page.contains(r#"le="0.025",to="db"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.02"#),
            "{page}"
        );
    }
}
