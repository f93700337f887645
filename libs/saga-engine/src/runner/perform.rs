//! One attempt of one step: with a bound, in its saga's trace, and with a panic taken for an unknown outcome.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use amends_primitives::StepKey;
use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use opentelemetry::{
    Context,
    trace::{FutureExt as _, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    Cause, Closed, Outcome, StepContext, TraceContext, Undo,
    driver::Attempt,
    plan::{Conclusion, Effect, EffectKind},
    timeline::Phase,
};

/// Stands between the engine and the steps: how tests make participants and networks fail.
#[async_trait]
pub trait Intercept: Send + Sync + 'static {
    /// Makes the attempt by calling `perform` as often as it likes, also never.
    async fn attempt(
        &self,
        call: &Call,
        perform: &(dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync),
    ) -> Conclusion;
}

/// One attempt, as an interceptor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// Of which saga, and which of its steps.
    pub key: StepKey,
    /// What is attempted.
    pub kind: EffectKind,
    /// From 1.
    pub attempt: u32,
}

impl EffectKind {
    /// The phase it belongs to.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Act => Phase::Action,
            Self::Compensate => Phase::Compensation,
            Self::Close => Phase::Close,
        }
    }
}

/// The attempt, its end, and how long it took.
pub(super) type Ended = (Effect, Conclusion, Duration);

pub(super) fn perform(
    effect: Effect,
    context: &StepContext,
    attempt: Attempt,
    intercept: Option<Arc<dyn Intercept>>,
) -> BoxFuture<'static, Ended> {
    let (trace, timeout) = (parent(&context.trace), context.timeout);
    let span = {
        // While it is attached, a span that is made becomes a child of the saga's trace.
        let _attached = trace.clone().attach();
        tracing::info_span!(
            "saga.step",
            otel.name = context.key.step(),
            saga.id = %context.key.saga_id(),
            saga.step = context.key.step(),
            saga.phase = effect.kind.phase().as_str(),
            retry.attempt = context.attempt,
        )
    };
    let call = Call { key: context.key.clone(), kind: effect.kind, attempt: effect.attempt };
    let work = async move {
        let begun = Instant::now();
        let work = async {
            match intercept {
                Some(intercept) => intercept.attempt(&call, &*attempt).await,
                None => attempt().await,
            }
        };
        let conclusion = match tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(conclusion)) => conclusion,
            Ok(Err(panic)) => unknown(effect.kind, Cause::permanent("panic", panicked(&*panic))),
            Err(_elapsed) => unknown(
                effect.kind,
                Cause::environment("timeout", format!("no answer within {} ms", timeout.as_millis())),
            ),
        };
        (effect, conclusion, begun.elapsed())
    };
    work.instrument(span).with_context(trace).boxed()
}

const fn unknown(kind: EffectKind, cause: Cause) -> Conclusion {
    match kind {
        EffectKind::Act => Conclusion::Acted(Outcome::Unknown(cause)),
        EffectKind::Compensate => Conclusion::Compensated(Undo::NotYet(cause)),
        EffectKind::Close => Conclusion::Closed(Closed::NotYet(cause)),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the step panicked: {}", message.unwrap_or("without a message"))
}

/// The remote span that the saga was started in.
pub(super) fn parent(trace: &TraceContext) -> Context {
    let parsed = trace.traceparent().and_then(|text| {
        let trace_id = TraceId::from_hex(text.get(3..35)?).ok()?;
        let span_id = SpanId::from_hex(text.get(36..52)?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(text.get(53..55)?, 16).ok()?);
        Some(SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE))
    });
    match parsed {
        Some(span_context) => Context::new().with_remote_span_context(span_context),
        None => Context::new(),
    }
}
