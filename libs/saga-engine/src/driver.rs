//! A saga of whatever type behind one: its typed state, and the steps that read and write it.
//!
//! Must not know: when a step is run, what is journaled.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::{
    Cause, Definition, Failure, Saga, StepContext, Told, UnreadableOutput,
    plan::{Conclusion, Effect, EffectKind},
    shape::{Shape, StepIndex},
};

/// Begins an attempt.
pub(crate) type Attempt = Box<dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync>;

/// A registered definition.
pub(crate) trait AnyDefinition<L>: Send + Sync {
    fn shape(&self) -> &Arc<Shape>;
    /// A saga at its start.
    fn open(&self, input: &str) -> Result<Box<dyn Driver<L>>, serde_json::Error>;
}

/// One saga's typed side.
pub(crate) trait Driver<L>: Send + Sync {
    fn record(&mut self, step: StepIndex, output: &Value) -> Result<(), UnreadableOutput>;
    /// To be called once for an attempt, and more often only by a test that repeats a message.
    fn attempt(&self, effect: Effect, context: StepContext) -> Attempt;
    /// The change of a local step, or its undo.
    fn change(&self, effect: Effect, context: &StepContext) -> Option<L>;
    fn on_unwinding(&self, failure: &Failure) -> Option<L>;
    fn on_unwound(&self, failure: &Failure) -> Option<L>;
    fn on_parked(&self, cause: &Cause) -> Option<L>;
    fn tell(&self, told: &Told<'_>);
}

impl<S: Saga> AnyDefinition<S::Local> for Definition<S> {
    fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    fn open(&self, input: &str) -> Result<Box<dyn Driver<S::Local>>, serde_json::Error> {
        Ok(Box::new(Typed { definition: self.clone(), state: Arc::new(serde_json::from_str(input)?) }))
    }
}

/// Attempts read the state as it was when they began; steps of one stage may write theirs meanwhile.
pub(crate) struct Typed<S: Saga> {
    definition: Definition<S>,
    state: Arc<S::State>,
}

impl<S: Saga> Driver<S::Local> for Typed<S> {
    fn record(&mut self, step: StepIndex, output: &Value) -> Result<(), UnreadableOutput> {
        self.definition.steps[step.position()].record(Arc::make_mut(&mut self.state), output)
    }

    fn attempt(&self, effect: Effect, context: StepContext) -> Attempt {
        let (steps, state) = (Arc::clone(&self.definition.steps), Arc::clone(&self.state));
        Box::new(move || {
            let (steps, state, context) = (Arc::clone(&steps), Arc::clone(&state), context.clone());
            Box::pin(async move {
                let step = &steps[effect.step.position()];
                match effect.kind {
                    EffectKind::Act => Conclusion::Acted(step.act(&state, &context).await),
                    EffectKind::Compensate => Conclusion::Compensated(step.compensate(&state, &context).await),
                    EffectKind::Close => Conclusion::Closed(step.close(&state, &context).await),
                }
            })
        })
    }

    fn change(&self, effect: Effect, context: &StepContext) -> Option<S::Local> {
        let step = &self.definition.steps[effect.step.position()];
        match effect.kind {
            EffectKind::Act => step.local(&self.state, context),
            EffectKind::Compensate | EffectKind::Close => step.local_undo(&self.state, context),
        }
    }

    fn on_unwinding(&self, failure: &Failure) -> Option<S::Local> {
        S::on_unwinding(&self.state, failure)
    }

    fn on_unwound(&self, failure: &Failure) -> Option<S::Local> {
        S::on_unwound(&self.state, failure)
    }

    fn on_parked(&self, cause: &Cause) -> Option<S::Local> {
        S::on_parked(&self.state, cause)
    }

    fn tell(&self, told: &Told<'_>) {
        S::tell(&self.state, told);
    }
}
