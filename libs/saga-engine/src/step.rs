//! What a step of a saga is: an action, and by its place before, at or after the pivot what else it owes.
//!
//! A step and its undo live in one type, so that "go to definition" finds both. Steps hold the ports they call.

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Closed, Outcome, Saga, StepContext, Undo};

/// An action on a participant. On its own it is a *retriable* step, for after the pivot: asked until it is done.
///
/// The engine may call it more than once, and once more after a crash; the participant recognises the step key.
#[async_trait]
pub trait Step<S: Saga>: Send + Sync + 'static {
    /// Unique within the definition, stable for ever: it is part of the step key and of the journal.
    const NAME: &'static str;
    /// What later steps may need to know. Journaled: keep old shapes readable, or raise the saga's version.
    type Output: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Makes one attempt.
    async fn act(&self, state: &S::State, context: &StepContext) -> Outcome<Self::Output>;

    /// Writes the output into the saga's state. Pure: it also runs when the journal is replayed.
    fn record(state: &mut S::State, output: Self::Output);
}

/// A step before the pivot.
#[async_trait]
pub trait Compensable<S: Saga>: Step<S> {
    /// Undoes what the action did under the same key. Also called when the action may never have arrived: then the participant
    /// stores a tombstone and answers that it is undone. May be called more than once.
    async fn compensate(&self, state: &S::State, context: &StepContext) -> Undo;
}

/// The step after which the saga only goes forward.
#[async_trait]
pub trait Pivot<S: Saga>: Step<S> {
    /// Makes sure that the action can never take effect any more, or finds out that it has. Called before any compensation,
    /// because a delayed message or a replica that lost its lease might still perform the pivot.
    async fn close(&self, state: &S::State, context: &StepContext) -> Closed<Self::Output>;
}

/// A change to the host's own tables. It commits in the same transaction as the journal's entry, so it is never in doubt
/// and needs no participant.
pub trait LocalStep<S: Saga>: Send + Sync + 'static {
    /// Unique within the definition, stable for ever.
    const NAME: &'static str;

    /// The change. Refusing it (see [`LocalOutcome`](crate::LocalOutcome)) means what a refusal means at this place: before or at the pivot the
    /// saga unwinds, after it the change is tried again.
    fn change(&self, state: &S::State, context: &StepContext) -> S::Local;

    /// The change that takes it back, for a local step before the pivot.
    fn undo(&self, state: &S::State, context: &StepContext) -> Option<S::Local> {
        let _ = (state, context);
        None
    }
}
