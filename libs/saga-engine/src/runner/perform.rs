//! One attempt of one step: with a bound, in its saga's trace, and with a panic taken for an unknown outcome.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use amends_primitives::StepKey;
use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use opentelemetry::trace::FutureExt as _;
use tokio::time::Instant;
use tracing::Instrument;

use super::spans::{self, SagaSpan};
use crate::{
    Cause, Closed, Outcome, StepContext, Undo,
    driver::Attempt,
    plan::{Conclusion, Effect, EffectKind},
    timeline::{EntryOutcome, Phase},
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

impl Conclusion {
    /// In a word, as a timeline has it.
    pub(super) const fn outcome(&self) -> EntryOutcome {
        match self {
            Self::Acted(Outcome::Done(_)) | Self::Closed(Closed::WasDone(_)) => EntryOutcome::Done,
            Self::Acted(Outcome::Refused(_)) => EntryOutcome::Refused,
            Self::Acted(Outcome::Unknown(_)) => EntryOutcome::Unknown,
            Self::Acted(Outcome::NotSent(_)) => EntryOutcome::NotSent,
            Self::Compensated(Undo::Undone) => EntryOutcome::Undone,
            Self::Closed(Closed::Closed) => EntryOutcome::Closed,
            Self::Compensated(Undo::NotYet(_)) | Self::Closed(Closed::NotYet(_)) => EntryOutcome::NotYet,
        }
    }

    /// Why it came to nothing that is known. A refusal is an answer.
    pub(super) const fn failure(&self) -> Option<&Cause> {
        match self {
            Self::Acted(Outcome::Unknown(cause) | Outcome::NotSent(cause))
            | Self::Compensated(Undo::NotYet(cause))
            | Self::Closed(Closed::NotYet(cause)) => Some(cause),
            _ => None,
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
    saga: &SagaSpan,
) -> BoxFuture<'static, Ended> {
    let timeout = context.timeout;
    let (span, parent) = saga.attempt(context, effect.kind);
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
        spans::conclude(&tracing::Span::current(), &conclusion);
        (effect, conclusion, begun.elapsed())
    };
    work.instrument(span).with_context(parent).boxed()
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
