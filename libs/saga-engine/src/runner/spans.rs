//! A saga's place in its trace: one span for as long as it is worked on here, with a span for each attempt under it. A saga that is taken up
//! again has another such span, in the same trace and linked to where the trace came from.
//!
//! Must not know: exporters, and what sagas are about.

use std::str::FromStr as _;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    StepContext, TraceContext,
    journal::SagaRow,
    plan::{Conclusion, EffectKind},
};

/// Under whose fence a saga is begun; each replica that takes it over adds one.
const FIRST_FENCE: u64 = 1;

/// A saga's span, and the context of what is done in it.
#[derive(Debug)]
pub(super) struct SagaSpan {
    span: Span,
    context: Context,
}

impl SagaSpan {
    /// Opens it. `base` is what the contexts of all spans hold.
    pub(super) fn open(row: &SagaRow, base: &Context) -> Self {
        let origin = parent(&row.trace, base);
        let is_resumed = row.fence > FIRST_FENCE;
        let span = tracing::info_span!(
            parent: None,
            "saga",
            otel.name = format!("saga {}", row.definition.name),
            otel.status_code = Empty,
            saga.id = %row.id,
            saga.name = row.definition.name,
            saga.outcome = Empty,
            saga.resumed = is_resumed,
            saga.fence = i64::try_from(row.fence).unwrap_or(i64::MAX),
            error.type = Empty,
        );
        let _set = span.set_parent(origin.clone());
        if is_resumed && origin.has_active_span() {
            span.add_link(origin.span().span_context().clone());
        }
        // Where nothing is recorded, this is the origin still.
        let own = span.context();
        let context = if own.has_active_span() { own } else { origin };
        Self { span, context }
    }

    /// One attempt's span, under the saga's.
    pub(super) fn attempt(&self, context: &StepContext, kind: EffectKind) -> (Span, Context) {
        let _attached = self.context.clone().attach();
        let _entered = self.span.enter();
        let span = tracing::info_span!(
            "saga.step",
            otel.name = context.key.step(),
            otel.status_code = Empty,
            saga.id = %context.key.saga_id(),
            saga.step = context.key.step(),
            saga.phase = kind.phase().as_str(),
            saga.outcome = Empty,
            retry.attempt = i64::from(context.attempt),
            timeout_ms = i64::try_from(context.timeout.as_millis()).unwrap_or(i64::MAX),
            error.type = Empty,
        );
        (span, self.context.clone())
    }

    /// Says how it ended here.
    pub(super) fn ended(&self, outcome: &str, error: Option<&str>) {
        self.span.record("saga.outcome", outcome);
        if let Some(error) = error {
            self.span.record("otel.status_code", "ERROR").record("error.type", error);
        }
    }

    /// What is done in it has this context.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    pub(super) const fn span(&self) -> &Span {
        &self.span
    }
}

/// Says how an attempt ended. An outcome that is not known is a failure; a refusal is an answer.
pub(super) fn conclude(span: &Span, conclusion: &Conclusion) {
    span.record("saga.outcome", conclusion.outcome().as_str());
    if let Some(cause) = conclusion.failure() {
        span.record("otel.status_code", "ERROR").record("error.type", cause.code.as_str());
    }
}

/// The remote span that the saga was started in.
fn parent(trace: &TraceContext, base: &Context) -> Context {
    let parsed = trace.traceparent().and_then(|text| {
        let trace_id = TraceId::from_hex(text.get(3..35)?).ok()?;
        let span_id = SpanId::from_hex(text.get(36..52)?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(text.get(53..55)?, 16).ok()?);
        let state = trace.tracestate().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
        Some(SpanContext::new(trace_id, span_id, flags, true, state))
    });
    match parsed {
        Some(span_context) => base.with_remote_span_context(span_context),
        None => base.clone(),
    }
}
