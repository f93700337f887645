//! Steps of different types behind one: outputs become JSON, which is what the journal keeps anyway.
//!
//! Must not know: when a step is run.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Cause, Closed, Compensable, LocalStep, Outcome, Pivot, Saga, Step, StepContext, Undo};

/// The journaled output of a step cannot be read back: the definition changed without a new version.
#[derive(Debug, thiserror::Error)]
#[error("the journaled output of step {step} cannot be read by this definition")]
pub struct UnreadableOutput {
    /// The step.
    pub step: &'static str,
    #[source]
    source: serde_json::Error,
}

/// One step, whatever its type. What a kind of step does not have is never asked of it, since roles come from the same builder
/// call; asked nevertheless, it answers that nothing is known, which is always safe.
#[async_trait]
pub(crate) trait ErasedStep<S: Saga>: Send + Sync {
    fn name(&self) -> &'static str;

    fn record(&self, _state: &mut S::State, _output: &Value) -> Result<(), UnreadableOutput> {
        Ok(())
    }

    async fn act(&self, _state: &S::State, _context: &StepContext) -> Outcome<Value> {
        Outcome::Unknown(misplaced())
    }

    async fn compensate(&self, _state: &S::State, _context: &StepContext) -> Undo {
        Undo::NotYet(misplaced())
    }

    async fn close(&self, _state: &S::State, _context: &StepContext) -> Closed<Value> {
        Closed::NotYet(misplaced())
    }

    fn local(&self, _state: &S::State, _context: &StepContext) -> Option<S::Local> {
        None
    }

    fn local_undo(&self, _state: &S::State, _context: &StepContext) -> Option<S::Local> {
        None
    }
}

fn misplaced() -> Cause {
    Cause::permanent("misplaced_step", "this kind of step cannot be asked this")
}

pub(crate) struct OfCompensable<T>(pub(crate) T);
pub(crate) struct OfPivot<T>(pub(crate) T);
pub(crate) struct OfRetriable<T>(pub(crate) T);
pub(crate) struct OfLocal<T>(pub(crate) T);

/// The decision to go forward: a local step that changes nothing, so that only its being journaled counts.
pub(crate) struct OfNothing;

impl<S: Saga> ErasedStep<S> for OfNothing {
    fn name(&self) -> &'static str {
        "go_forward"
    }
}

#[async_trait]
impl<S: Saga, T: Compensable<S>> ErasedStep<S> for OfCompensable<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn record(&self, state: &mut S::State, output: &Value) -> Result<(), UnreadableOutput> {
        record::<S, T>(state, output)
    }

    async fn act(&self, state: &S::State, context: &StepContext) -> Outcome<Value> {
        act(&self.0, state, context).await
    }

    async fn compensate(&self, state: &S::State, context: &StepContext) -> Undo {
        self.0.compensate(state, context).await
    }
}

#[async_trait]
impl<S: Saga, T: Pivot<S>> ErasedStep<S> for OfPivot<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn record(&self, state: &mut S::State, output: &Value) -> Result<(), UnreadableOutput> {
        record::<S, T>(state, output)
    }

    async fn act(&self, state: &S::State, context: &StepContext) -> Outcome<Value> {
        act(&self.0, state, context).await
    }

    async fn close(&self, state: &S::State, context: &StepContext) -> Closed<Value> {
        match self.0.close(state, context).await {
            Closed::Closed => Closed::Closed,
            Closed::NotYet(cause) => Closed::NotYet(cause),
            Closed::WasDone(output) => match serde_json::to_value(output) {
                Ok(output) => Closed::WasDone(output),
                Err(error) => Closed::NotYet(unwritable(&error)),
            },
        }
    }
}

#[async_trait]
impl<S: Saga, T: Step<S>> ErasedStep<S> for OfRetriable<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn record(&self, state: &mut S::State, output: &Value) -> Result<(), UnreadableOutput> {
        record::<S, T>(state, output)
    }

    async fn act(&self, state: &S::State, context: &StepContext) -> Outcome<Value> {
        act(&self.0, state, context).await
    }
}

#[async_trait]
impl<S: Saga, T: LocalStep<S>> ErasedStep<S> for OfLocal<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn local(&self, state: &S::State, context: &StepContext) -> Option<S::Local> {
        Some(self.0.change(state, context))
    }

    fn local_undo(&self, state: &S::State, context: &StepContext) -> Option<S::Local> {
        self.0.undo(state, context)
    }
}

fn record<S: Saga, T: Step<S>>(state: &mut S::State, output: &Value) -> Result<(), UnreadableOutput> {
    let output = <T::Output as serde::Deserialize>::deserialize(output)
        .map_err(|source| UnreadableOutput { step: T::NAME, source })?;
    T::record(state, output);
    Ok(())
}

async fn act<S: Saga, T: Step<S>>(step: &T, state: &S::State, context: &StepContext) -> Outcome<Value> {
    match step.act(state, context).await {
        Outcome::Refused(refusal) => Outcome::Refused(refusal),
        Outcome::Unknown(cause) => Outcome::Unknown(cause),
        Outcome::NotSent(cause) => Outcome::NotSent(cause),
        Outcome::Done(output) => match serde_json::to_value(output) {
            Ok(output) => Outcome::Done(output),
            // It did take effect; an output that cannot be written must not be taken for a refusal.
            Err(error) => Outcome::Unknown(unwritable(&error)),
        },
    }
}

fn unwritable(error: &serde_json::Error) -> Cause {
    Cause::permanent("unwritable_output", format!("the step's output cannot be journaled: {error}"))
}
