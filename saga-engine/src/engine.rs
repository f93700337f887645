//! The engine as its host sees it: register definitions, start sagas, wait for them, ask for them, drain.

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock, IdSource, SagaId};

use crate::{
    Definition, Handle, Saga, Snapshot, TraceContext,
    config::Config,
    journal::{Journal, JournalError, Operator, Requested},
    metrics::EngineMetrics,
    timeline::Timeline,
};

/// A saga to be started.
#[derive(Debug, Clone)]
pub struct NewSaga<S: Saga> {
    /// Chosen by the caller, so that it can be stored with what the saga is about.
    pub id: SagaId,
    /// The first state.
    pub state: S::State,
    /// What it is about, for people and for lookups: an order id.
    pub subject: String,
    /// The trace it belongs to.
    pub trace: TraceContext,
}

/// Why a saga was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As many sagas are running here as may: worth trying again in a moment.
    #[error("as many sagas are running as may")]
    Overloaded,
    /// The engine is being drained: worth trying on another replica.
    #[error("the engine is shutting down")]
    Draining,
    /// No definition of that name and version was registered.
    #[error("no definition of {name} version {version} is registered")]
    Unregistered {
        /// The saga's name.
        name: &'static str,
        /// The definition's version.
        version: u32,
    },
    /// The saga's state could not be written as JSON.
    #[error("the saga's state cannot be written")]
    State(#[source] serde_json::Error),
    /// The journal failed.
    #[error("the saga could not be journaled")]
    Journal(#[source] JournalError),
}

/// A saga stored in a transaction that is not committed yet. Commit, then [`launch`](Started::launch).
///
/// Dropped without launching (the commit failed, or its answer was lost), the engine finds out by itself whether the saga exists,
/// and runs it if so.
#[must_use = "after the commit, launch it"]
pub struct Started<J: Journal> {
    engine: Engine<J>,
    id: SagaId,
}

impl<J: Journal> Started<J> {
    /// The saga's id.
    pub const fn id(&self) -> SagaId {
        self.id
    }

    /// Runs the saga. Call it right after the commit.
    pub fn launch(self) -> Handle {
        self.engine.launch(self.id)
    }
}

/// Runs sagas. Cheap to clone.
pub struct Engine<J: Journal>(Arc<Inner<J>>);

struct Inner<J> {
    journal: Arc<J>,
}

impl<J: Journal> Clone for Engine<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Puts an engine together.
pub struct EngineBuilder<J: Journal> {
    journal: Arc<J>,
}

impl<J: Journal> EngineBuilder<J> {
    /// Where the time comes from. Default: the machine's clock.
    #[must_use]
    pub fn clock(self, _clock: Arc<dyn Clock>) -> Self {
        self
    }

    /// Where the replica's id comes from. Default: random.
    #[must_use]
    pub fn ids(self, _ids: Arc<dyn IdSource>) -> Self {
        self
    }

    /// The limits.
    #[must_use]
    pub fn config(self, _config: Config) -> Self {
        self
    }

    /// The counters; keep a clone to register it.
    #[must_use]
    pub fn metrics(self, _metrics: EngineMetrics) -> Self {
        self
    }

    /// Makes a kind of saga known.
    #[must_use]
    pub fn register<S: Saga<Local = J::Local>>(self, _definition: Definition<S>) -> Self {
        self
    }

    /// Starts the engine's tasks in the current tokio runtime: heartbeats, recovery, waiting for others' sagas. Needs no database yet.
    pub fn start(self) -> Engine<J> {
        Engine(Arc::new(Inner { journal: self.journal }))
    }
}

impl<J: Journal> Engine<J> {
    /// Begins an engine on a journal.
    pub fn builder(journal: Arc<J>) -> EngineBuilder<J> {
        EngineBuilder { journal }
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<J> {
        &self.0.journal
    }

    /// Stores a saga in the caller's transaction. After the commit, launch what is returned.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is stored then.
    pub async fn start_in_tx<S: Saga<Local = J::Local>>(
        &self,
        _tx: &mut J::Tx,
        _saga: NewSaga<S>,
    ) -> Result<Started<J>, StartError> {
        todo!()
    }

    /// Stores a saga in a transaction of its own, and runs it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start<S: Saga<Local = J::Local>>(&self, _saga: NewSaga<S>) -> Result<Handle, StartError> {
        todo!()
    }

    /// Runs a saga that was started in a transaction that is now committed. Launching twice is harmless.
    pub fn launch(&self, _id: SagaId) -> Handle {
        todo!()
    }

    /// To wait for a saga, wherever it runs.
    pub fn handle(&self, _id: SagaId) -> Handle {
        todo!()
    }

    /// A saga's durable state now, if there is such a saga.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn snapshot(&self, _id: SagaId) -> Result<Option<Snapshot>, JournalError> {
        todo!()
    }

    /// What happened to a saga, step by step, if there is such a saga. For one that runs here it includes what is not journaled yet.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn timeline(&self, _id: SagaId) -> Result<Option<Timeline>, JournalError> {
        todo!()
    }

    /// Asks a saga to unwind. Honoured unless its pivot is done.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn cancel(&self, _id: SagaId, _by: Operator) -> Result<Requested, JournalError> {
        todo!()
    }

    /// Refuses new sagas, lets those in flight settle for at most `bound`, hands the rest over to other replicas, and stops.
    pub async fn drain(&self, _bound: Duration) -> Drained {
        todo!()
    }
}

/// What became of the sagas in flight when the engine was drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Settled in time.
    pub settled: usize,
    /// Left to other replicas, or to this one's next start.
    pub handed_over: usize,
}
