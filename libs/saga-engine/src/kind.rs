//! A kind of saga, before anything is said of its steps.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Cause, Failure, Told};

/// A kind of saga: its name, its state, and how its ends show in the host's own tables.
pub trait Saga: Sized + Send + Sync + 'static {
    /// Stable for ever: it is stored with every saga of this kind.
    const NAME: &'static str;
    /// Raise it when steps are added, removed, reordered, or an output changes its shape. Register the old version beside the new
    /// one until its sagas have settled; a replica that does not know a version leaves its sagas alone.
    const VERSION: u32;
    /// Begins as the input; steps write their outputs into it. Its first value is stored with the saga.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// A change to the host's own tables: usually one enum for all sagas of an engine. [`NoLocal`] where there is none.
    type Local: Send + Sync + 'static;

    /// A change that commits with the decision to unwind.
    fn on_unwinding(state: &Self::State, failure: &Failure) -> Option<Self::Local> {
        let _ = (state, failure);
        None
    }

    /// A change that commits with the end of the unwinding: the order has failed, the idempotency key is free again.
    fn on_unwound(state: &Self::State, failure: &Failure) -> Option<Self::Local> {
        let _ = (state, failure);
        None
    }

    /// A change that commits with the parking: the order waits for a human.
    fn on_parked(state: &Self::State, cause: &Cause) -> Option<Self::Local> {
        let _ = (state, cause);
        None
    }

    /// Something happened to the saga: for the host's log, where the saga's story has the host's names. Called between steps; must not
    /// wait.
    fn tell(state: &Self::State, told: &Told<'_>) {
        let _ = (state, told);
    }
}

/// For sagas that change nothing in the host's own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLocal {}
