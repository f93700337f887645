//! What others can see of the gateway's work: RED metrics per route and per upstream, and one log line per request.
//!
//! A line names its correlation id and its trace. It never holds a token, a query (which may hold one) or a body.

use std::{net::IpAddr, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use service_base::{
    code::Code,
    metrics::{HttpCall, HttpCalls, TraceLabel, requests_shed},
    sampled::Sampled,
    wire::{code_name, is_server_fault, known_method},
};
use service_kit::{
    Runtime,
    observe::{Active, Observer as ServerObserver},
};

/// How the gateway calls itself.
pub(crate) const SERVICE: &str = "gateway";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeldLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    peer_service: &'static str,
}

/// The gateway's metrics.
#[derive(Clone)]
pub(crate) struct Observer {
    served: ServerObserver,
    upstreams: HttpCalls,
    shed: Counter,
    refusals: Family<RefusalLabels, Counter>,
    retries: Family<RetryLabels, Counter>,
    held: Family<HeldLabels, Gauge>,
    connections: Gauge,
    sampled: Arc<Sampled>,
}

/// What became of one attempt to have a request answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// There was an answer.
    Answered { status: u16, grpc_code: Option<tonic::Code> },
    /// Nothing was sent.
    Unreachable,
    /// Something may have been sent, and no whole answer came.
    Broken,
}

/// All there is to say about one request once it is over.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    /// The order that it asked for, or placed.
    pub(crate) order: Option<&'a str>,
    pub(crate) protocol: &'static str,
    pub(crate) method: &'a str,
    /// Without its query.
    pub(crate) path: &'a str,
    pub(crate) route: &'static str,
    /// Zero where the caller was gone before there was one.
    pub(crate) status: u16,
    pub(crate) grpc_code: Option<tonic::Code>,
    pub(crate) took: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) client: Option<IpAddr>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) upstream: Option<&'static str>,
    pub(crate) refused: Option<Code>,
    /// Refused for want of room, here or behind.
    pub(crate) is_shed: bool,
    /// A question about the gateway's health.
    pub(crate) is_probe: bool,
    pub(crate) correlation_id: &'a str,
    pub(crate) trace_id: &'a str,
    /// What went wrong on the way, for the operator.
    pub(crate) error: Option<String>,
}

impl Observer {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        let metrics = &runtime.metrics;
        Self {
            // The same families as the services behind, so that one dashboard shows them all.
            served: ServerObserver::http(SERVICE, runtime),
            upstreams: HttpCalls::new(SERVICE, metrics),
            shed: requests_shed(SERVICE, metrics),
            refusals: metrics.counter("gateway_refusals_total", "Requests the gateway refused itself, by code"),
            retries: metrics.counter("gateway_upstream_retries_total", "Requests sent again on another connection"),
            held: metrics.gauge("gateway_held", "What requests hold of what there is, by kind (see gateway.limits)"),
            connections: metrics.get_or_register("gateway_connections", "Open connections of callers", Gauge::default),
            sampled: Arc::default(),
        }
    }

    /// How much of one kind of finite thing is held.
    pub(crate) fn held(&self, kind: &'static str) -> Gauge {
        self.held.get_or_create_owned(&HeldLabels { kind })
    }

    /// Counts a connection while the returned value lives.
    pub(crate) fn connected(&self) -> Counted {
        Counted::new(self.connections.clone())
    }

    /// Counts a request while the returned value lives.
    pub(crate) fn began(&self, protocol: &'static str) -> Active {
        self.served.began(protocol)
    }

    /// One more try.
    pub(crate) fn retried(&self, upstream: &'static str) {
        self.retries.get_or_create(&RetryLabels { peer_service: upstream }).inc();
    }

    /// An upstream has answered, or has not.
    pub(crate) fn answered(
        &self,
        upstream: &'static str,
        route: &'static str,
        method: &str,
        outcome: Outcome,
        took: Duration,
        exemplar: Option<TraceLabel>,
    ) {
        let (status, error_type) = match outcome {
            Outcome::Answered { status, .. } if status >= 500 => (status, "5xx"),
            Outcome::Answered { status, grpc_code: Some(code) } if is_server_fault(code) => (status, code_name(code)),
            Outcome::Answered { status, .. } => (status, ""),
            Outcome::Unreachable => (0, "unreachable"),
            Outcome::Broken => (0, "broken"),
        };
        let call = HttpCall { peer: upstream, url_template: route, method: known_method(method), status, error_type };
        self.upstreams.observe(&call, took, exemplar);
    }

    /// A request is over, whose span is the current one.
    pub(crate) fn ended(&self, summary: &Summary<'_>) {
        let method = known_method(summary.method);
        let (route, took, exemplar) = (summary.route, summary.took, TraceLabel::current());
        if let Some(code) = summary.grpc_code {
            self.served.answered_rpc(route.trim_start_matches('/'), code, took, exemplar);
        } else {
            self.served.answered_http(method, route, summary.status, took, exemplar);
        }
        if let Some(code) = summary.refused {
            if code == Code::Overloaded {
                self.shed.inc();
            }
            self.refusals.get_or_create(&RefusalLabels { code: code.as_str() }).inc();
        }
        // A stream that ended because of its age is no failure.
        let is_expired = summary.refused == Some(Code::StreamExpired);
        let failed = summary.status >= 500 || (summary.grpc_code.is_some_and(is_server_fault) && !is_expired);
        // Refused by this process or behind it, without having been worked on.
        let is_refused = !summary.is_probe
            && (summary.is_shed
                || matches!(summary.status, 429 | 503)
                || matches!(summary.grpc_code, Some(tonic::Code::ResourceExhausted | tonic::Code::Unavailable)));
        let refused_count = if is_refused {
            let reason = if summary.is_shed { "overloaded" } else { summary.refused.map_or("upstream", Code::as_str) };
            // A line each would be more load: the others are counted, and logged at "debug".
            self.sampled.count(reason)
        } else {
            None
        };
        let is_silent = (summary.is_probe && !failed) || (is_refused && refused_count.is_none());
        // One event, three levels: a macro per level is what tracing asks for.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "gateway::access",
                    protocol = summary.protocol,
                    // Named as the span's fields are, and only once in a line: a filter may drop the span, never the ids.
                    http.request.method = summary.method,
                    url.path = summary.path,
                    http.route = summary.route,
                    http.response.status_code = summary.status,
                    rpc.status_code = summary.grpc_code.map(code_name),
                    duration_ms = millis(summary.took),
                    request_bytes = summary.request_bytes,
                    response_bytes = summary.response_bytes,
                    client.address = summary.client.map(tracing::field::display),
                    subject = summary.subject,
                    order.id = summary.order,
                    refused_count,
                    peer.service = summary.upstream,
                    error.type = summary.refused.map(Code::as_str),
                    error = summary.error.as_deref(),
                    correlation_id = summary.correlation_id,
                    trace_id = summary.trace_id,
                    "request"
                )
            };
        }
        match (is_silent, failed) {
            // One a second for ever, from the load balancer and the orchestrator; and what another line stands for.
            (true, _) => line!(debug),
            (false, true) => line!(warn),
            (false, false) => line!(info),
        }
    }
}

/// Keeps a gauge one higher while it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people and for a log; a millisecond count is small")]
fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing::{Level, Metadata, span};

    use super::*;

    /// Counts lines: warnings, and those at "info".
    #[derive(Clone, Default)]
    struct Lines(Arc<(AtomicU64, AtomicU64)>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "gateway::access"
        }

        fn event(&self, event: &tracing::Event<'_>) {
            match *event.metadata().level() {
                Level::WARN => self.0.0.fetch_add(1, Ordering::Relaxed),
                Level::INFO => self.0.1.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn summary(status: u16, refused: Option<Code>, is_shed: bool) -> Summary<'static> {
        Summary {
            order: None,
            protocol: "http",
            method: "POST",
            path: "/v1/orders",
            route: "/v1/orders",
            status,
            grpc_code: None,
            took: Duration::from_millis(1),
            request_bytes: 0,
            response_bytes: 0,
            client: None,
            subject: None,
            upstream: None,
            refused,
            is_shed,
            is_probe: false,
            correlation_id: "c-1",
            trace_id: "",
            error: None,
        }
    }

    #[test]
    fn refusals_are_sampled_and_answers_are_not() {
        let lines = Lines::default();
        let _told = tracing::subscriber::set_default(lines.clone());
        let observer = Observer::new(&Runtime::for_testing());
        let all = |count: u64, summary: Summary<'_>| {
            (0..count).for_each(|_| observer.ended(&summary));
            (lines.0.0.swap(0, Ordering::Relaxed), lines.0.1.swap(0, Ordering::Relaxed))
        };
        assert_eq!(all(500, summary(201, None, false)), (0, 500));
        assert_eq!(all(50, summary(500, None, false)), (50, 0), "a failure is no refusal");
        // Long before a second has passed.
        let sampled = [
            all(500, summary(503, None, false)),
            all(500, summary(503, Some(Code::Overloaded), true)),
            all(500, summary(429, Some(Code::RateLimited), false)),
        ];
        let [(behind, 0), (here, 0), (0, rate)] = sampled else { panic!("{sampled:?}") };
        assert!((1..5).contains(&behind) && (1..5).contains(&here) && (1..5).contains(&rate), "{sampled:?}");
        assert_eq!(
            observer.refusals.get_or_create(&RefusalLabels { code: "rate_limited" }).get(),
            500,
            "all are counted"
        );
    }
}
