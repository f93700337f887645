//! The request that work is done for: the correlation id and the trace, carried in over HTTP and gRPC, through tasks, and out again.
//!
//! The current [`RequestContext`] is task-local: a spawned task starts with none, so hand it over with [`RequestContext::scope`].

use std::{future::Future, str::FromStr, sync::Arc};

use amends_primitives::IdSource;
use amends_telemetry::{Edge, OfService};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use rand::Rng as _;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header and metadata key of the correlation id.
pub const CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longer ones would be a way to fill our logs.
const CORRELATION_LENGTH_MAX: usize = 128;
/// Members of `tracestate` beyond this are for others to lose (W3C asks for at least 512 bytes).
const TRACESTATE_LENGTH_MAX: usize = 512;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// What ties together everything done for one request of one caller: 1 to 128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Correlation(Arc<str>);

impl Correlation {
    /// The caller's own id, if it is one we accept.
    pub fn accept(text: &str) -> Option<Self> {
        let fits = (1..=CORRELATION_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// A new one.
    pub fn fresh(ids: &dyn IdSource) -> Self {
        Self(ids.next_id().to_string().into())
    }
}

amends_primitives::as_text!(Correlation);
amends_primitives::debug_as_displayed!(Correlation);

/// Correlation, trace and deadline of the work at hand.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The correlation id.
    pub correlation: Correlation,
    /// When the caller stops waiting, if it said so (`grpc-timeout`).
    pub deadline: Option<tokio::time::Instant>,
    /// What to continue where no span is recorded.
    trace: SpanContext,
    /// Work begins here for a caller outside.
    is_edge: bool,
}

impl RequestContext {
    /// For work that no request asked for: a new correlation id and a new trace.
    pub fn fresh(ids: &dyn IdSource) -> Self {
        Self { correlation: Correlation::fresh(ids), deadline: None, trace: fresh_trace(ids), is_edge: false }
    }

    /// For work that was put down and is taken up again: what was kept of its context ([`current_trace_text`]), the rest made anew.
    pub fn resumed(correlation: Option<&str>, trace: Option<&str>, ids: &dyn IdSource) -> Self {
        Self {
            correlation: correlation.and_then(Correlation::accept).unwrap_or_else(|| Correlation::fresh(ids)),
            deadline: None,
            trace: trace.and_then(parse_trace_text).unwrap_or_else(|| fresh_trace(ids)),
            is_edge: false,
        }
    }

    /// What a caller sent along, the rest made anew.
    pub fn extract(headers: &HeaderMap, ids: &dyn IdSource) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            correlation: text(CORRELATION_HEADER)
                .and_then(Correlation::accept)
                .unwrap_or_else(|| Correlation::fresh(ids)),
            deadline: None,
            trace: extract_trace(headers).unwrap_or_else(|| fresh_trace(ids)),
            is_edge: false,
        }
    }

    /// What a caller outside sent along, the rest made anew. The trace is continued; whether it is recorded is decided here, whatever the
    /// caller's flag and `tracestate` say, unless it `is_trusted`.
    pub fn extract_outside(headers: &HeaderMap, is_trusted: bool, ids: &dyn IdSource) -> Self {
        let context = Self::extract(headers, ids);
        if is_trusted {
            return context;
        }
        let theirs = &context.trace;
        let state = theirs.trace_state().delete(amends_telemetry::STATE_KEY).unwrap_or_default();
        let flags = theirs.trace_flags().with_sampled(false);
        let trace = SpanContext::new(theirs.trace_id(), theirs.span_id(), flags, theirs.is_remote(), state);
        Self { trace, is_edge: true, ..context }
    }

    /// The context of the work at hand.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Does `work` in this context. Log lines name its trace where no span of the work is recorded.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        let shown = self.shown();
        CURRENT.scope(self, work.with_context(shown)).await
    }

    /// Does `work` in that span of this context, for a line about what was done before.
    pub fn in_scope<T>(&self, span: &tracing::Span, work: impl FnOnce() -> T) -> T {
        let _shown = self.shown().attach();
        span.in_scope(work)
    }

    /// What log lines are to name: the recorded span, if there is one.
    fn shown(&self) -> opentelemetry::Context {
        if recorded().is_some() {
            return opentelemetry::Context::current();
        }
        opentelemetry::Context::new().with_remote_span_context(self.trace.clone())
    }

    /// Puts this work's span under the caller's, if there is one; else the span begins a trace of its own, which the
    /// sampler decides on. It, and those under it, are spans of `service`. Before the span is entered for the first time, or it is too late.
    pub fn adopt(&self, span: &tracing::Span, service: &'static str) {
        let mut parent = opentelemetry::Context::new().with_value(OfService(service));
        if self.is_edge {
            parent = parent.with_value(Edge);
        }
        if self.trace.is_remote() {
            parent = parent.with_remote_span_context(self.trace.clone());
        }
        // Fails where no OpenTelemetry layer listens, and then there is nothing to adopt.
        let _ = span.set_parent(parent);
    }

    /// [Puts](Self::adopt) `span` under the caller's, and takes over its trace once it is known to OpenTelemetry. Where nothing is
    /// recorded, the work has a span's id all the same, of its own, for log lines and for those it calls.
    #[must_use]
    pub fn in_span(self, span: &tracing::Span, service: &'static str) -> Self {
        self.adopt(span, service);
        let recorded = span.context().span().span_context().clone();
        if recorded.is_valid() {
            return Self { trace: recorded, ..self };
        }
        let own = SpanId::from(rand::rng().random_range(1..=u64::MAX));
        let trace = SpanContext::new(
            self.trace.trace_id(),
            own,
            self.trace.trace_flags(),
            self.trace.is_remote(),
            self.trace.trace_state().clone(),
        );
        Self { trace, ..self }
    }

    /// The trace's id, in hex.
    pub fn trace_id(&self) -> String {
        self.trace.trace_id().to_string()
    }

    /// The W3C `traceparent` of this context, for a journal or a message.
    pub fn traceparent(&self) -> String {
        format_traceparent(&self.trace)
    }

    /// Writes what the next service needs into its request's headers.
    pub fn inject_into(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(self.correlation.as_str()) {
            headers.insert(CORRELATION_HEADER, value);
        }
        let recorded = recorded();
        let trace = recorded.as_ref().unwrap_or(&self.trace);
        if let Ok(value) = HeaderValue::try_from(format_traceparent(trace)) {
            headers.insert(TRACEPARENT, value);
        }
        let state = trace.trace_state().header();
        if let (false, Ok(value)) = (state.is_empty(), HeaderValue::try_from(state)) {
            headers.insert(TRACESTATE, value);
        }
    }
}

/// The span that OpenTelemetry records at the moment, if any.
fn recorded() -> Option<SpanContext> {
    let context = tracing::Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The id of the current trace, in hex: of the recorded span, or else of the current context.
pub fn current_trace_id() -> Option<String> {
    let from_context = || CURRENT.try_with(RequestContext::trace_id).ok();
    recorded().map(|span| span.trace_id().to_string()).or_else(from_context)
}

/// The trace of the current span, or else of the current context, with its `tracestate`: what a journal keeps, for
/// [`RequestContext::resumed`].
pub fn current_trace_text() -> Option<String> {
    let from_context = || CURRENT.try_with(|context| format_trace_text(&context.trace)).ok();
    recorded().map(|span| format_trace_text(&span)).or_else(from_context)
}

/// Does `work` in the context and the span at hand, wherever it is polled: for tasks that are part of a request.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let context = RequestContext::current();
    let work = work.instrument(tracing::Span::current()).with_current_context();
    async move {
        match context {
            Some(context) => CURRENT.scope(context, work).await,
            None => work.await,
        }
    }
}

/// A context whose spans are `service`'s, for code that opens spans of its own.
pub fn spans_of(service: &'static str) -> opentelemetry::Context {
    opentelemetry::Context::new().with_value(OfService(service))
}

/// Whether the current span is recorded: whether it is worth opening another under it that only traces are for.
pub fn is_recording() -> bool {
    opentelemetry::Context::map_current(|context| context.span().is_recording())
}

/// The current correlation id.
pub fn current_correlation() -> Option<Correlation> {
    CURRENT.try_with(|context| context.correlation.clone()).ok()
}

/// Shows the current correlation id, if there is one.
pub fn with_correlation(show: &mut dyn FnMut(&str)) {
    // Fails where no request is current.
    let _ = CURRENT.try_with(|context| show(context.correlation.as_str()));
}

/// Writes the current context into an outgoing request's headers; nothing where there is none.
pub fn inject(headers: &mut HeaderMap) {
    if CURRENT.try_with(|context| context.inject_into(headers)).is_err()
        && let Some(Ok(value)) = recorded().map(|span| HeaderValue::try_from(format_traceparent(&span)))
    {
        headers.insert(TRACEPARENT, value);
    }
}

/// A tonic interceptor that sends the current context along: `FooClient::with_interceptor(channel, Inject)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inject;

impl tonic::service::Interceptor for Inject {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        inject(&mut headers);
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        Ok(request)
    }
}

fn fresh_trace(ids: &dyn IdSource) -> SpanContext {
    // A version 7 UUID begins with the time, so its random half comes first in neither id; zero is not allowed in either.
    let trace = TraceId::from_bytes(ids.next_id().into_bytes());
    let span = ids.next_id().as_u64_pair();
    let span = SpanId::from((span.0 ^ span.1).max(1));
    SpanContext::new(trace, span, TraceFlags::default(), false, TraceState::NONE)
}

fn extract_trace(headers: &HeaderMap) -> Option<SpanContext> {
    let trace = parse_traceparent(headers.get(TRACEPARENT)?.to_str().ok()?)?;
    let state =
        headers.get(TRACESTATE).and_then(|value| value.to_str().ok()).filter(|s| s.len() <= TRACESTATE_LENGTH_MAX);
    let Some(Ok(state)) = state.map(TraceState::from_str) else { return Some(trace) };
    Some(SpanContext::new(trace.trace_id(), trace.span_id(), trace.trace_flags(), true, state))
}

/// Reads a W3C `traceparent`. Versions above 00 may have more fields after the flags; ff is forbidden.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(part)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// A `traceparent`, and after a space the `tracestate`.
fn parse_trace_text(text: &str) -> Option<SpanContext> {
    let (parent, state) = text.split_once(' ').unwrap_or((text, ""));
    let trace = parse_traceparent(parent)?;
    let state = TraceState::from_str(state).unwrap_or_default();
    Some(SpanContext::new(trace.trace_id(), trace.span_id(), trace.trace_flags(), true, state))
}

fn format_trace_text(span: &SpanContext) -> String {
    let state = span.trace_state().header();
    let parent = format_traceparent(span);
    if state.is_empty() { parent } else { format!("{parent} {state}") }
}

fn format_traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags() & TraceFlags::SAMPLED)
}

#[cfg(test)]
mod tests {
    use amends_primitives::SeededIds;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn traceparent_is_read_strictly() {
        assert_eq!(parse_traceparent(PARENT).map(|s| format_traceparent(&s)).as_deref(), Some(PARENT));
        let newer = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
        assert!(parse_traceparent(newer).is_some());
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_short_visible_correlation_ids_are_accepted() {
        assert!(Correlation::accept("order-7").is_some() && Correlation::accept(&"x".repeat(128)).is_some());
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert!(Correlation::accept(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_came_in_goes_out() {
        let ids = SeededIds::new(7);
        let mut headers = HeaderMap::new();
        headers.insert("x-correlation-id", HeaderValue::from_static("abc"));
        headers.insert("traceparent", HeaderValue::from_static(PARENT));
        headers.insert("tracestate", HeaderValue::from_static("vendor=1"));
        let context = RequestContext::extract(&headers, &ids);
        let sent = context
            .scope(async {
                assert_eq!(current_trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
                let mut headers = HeaderMap::new();
                inject(&mut headers);
                headers
            })
            .await;
        assert_eq!(sent, headers);
        assert!(RequestContext::current().is_none());
    }

    #[test]
    fn what_was_not_sent_is_made() {
        let ids = SeededIds::new(7);
        let (one, two) = (RequestContext::fresh(&ids), RequestContext::extract(&HeaderMap::new(), &ids));
        assert_ne!(one.correlation, two.correlation);
        assert_ne!(one.trace_id(), two.trace_id());
        assert!(parse_traceparent(&two.traceparent()).is_some());
        assert_eq!(RequestContext::resumed(Some("abc"), Some(PARENT), &ids).traceparent(), PARENT);
    }
}
