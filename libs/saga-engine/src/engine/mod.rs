//! The engine as its host sees it: register definitions, start sagas, wait for them, ask for them, drain.

mod builder;

use std::{fmt, sync::Arc, time::Duration};

use amends_primitives::SagaId;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Handle, Saga, Snapshot, TraceContext,
    driver::{AnyDefinition, Driver},
    journal::{
        DefinitionId, Filter, Journal, JournalError, NewRow, Operator, OperatorRequest, Page, ReplicaId, Requested,
        Resolution, SagaRow, Stats, Wish,
    },
    runner::Core,
    status::Status,
    timeline::Timeline,
};

pub use builder::EngineBuilder;

/// A saga to be started.
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

impl<S: Saga> Clone for NewSaga<S> {
    fn clone(&self) -> Self {
        let Self { id, state, subject, trace } = self;
        Self { id: *id, state: state.clone(), subject: subject.clone(), trace: trace.clone() }
    }
}

/// Without the state, which may hold what does not belong in a log.
impl<S: Saga> fmt::Debug for NewSaga<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSaga").field("id", &self.id).field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Why a saga was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As many sagas are running here as may: worth trying again in a moment.
    #[error("as many sagas are running as may")]
    Overloaded,
    /// This replica does not hold its lease, because the database did not answer for a while: worth trying again in a moment.
    #[error("this replica does not hold its lease")]
    NotReady,
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
    /// The saga's state could not be written as JSON, or not be read back.
    #[error("the saga's state cannot be written")]
    State(#[source] serde_json::Error),
    /// The journal failed.
    #[error("the saga could not be journaled")]
    Journal(#[source] JournalError),
}

impl StartError {
    /// Whether the same start may succeed later without a change.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Overloaded | Self::NotReady | Self::Draining => true,
            Self::Journal(error) => error.is_transient(),
            Self::Unregistered { .. } | Self::State(_) => false,
        }
    }
}

/// A saga stored in a transaction that is not committed yet. Commit, then [`launch`](Started::launch).
///
/// Dropped without launching (the commit failed, or its answer was lost), the engine finds out by itself whether the saga exists,
/// and runs it if so.
#[must_use = "after the commit, launch it"]
pub struct Started<J: Journal> {
    core: Arc<Core<J>>,
    row: SagaRow,
    definition: Arc<dyn AnyDefinition<J::Local>>,
    prepared: Option<Prepared<J::Local>>,
}

struct Prepared<L> {
    driver: Box<dyn Driver<L>>,
    seat: OwnedSemaphorePermit,
}

impl<J: Journal> Started<J> {
    /// The saga's id.
    pub const fn id(&self) -> SagaId {
        self.row.id
    }

    /// Runs the saga. Call it right after the commit.
    pub fn launch(mut self) -> Handle {
        match self.prepared.take() {
            Some(Prepared { driver, seat }) => {
                self.core.count_started(self.definition.shape().name);
                self.core.run_new(&self.row, &self.definition, driver, seat)
            }
            None => self.core.watchers.watch(self.row.id),
        }
    }
}

impl<J: Journal> Drop for Started<J> {
    fn drop(&mut self) {
        self.core.starting.lock().remove(&self.row.id);
        if self.prepared.is_some() {
            self.core.sweep.notify_one();
        }
    }
}

impl<J: Journal> fmt::Debug for Started<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Started").field(&self.row.id).finish()
    }
}

/// Runs sagas. Cheap to clone; when the last clone is dropped everything stops where it is, as in a crash. See [`drain`](Self::drain).
pub struct Engine<J: Journal>(Arc<Guard<J>>);

struct Guard<J: Journal>(Arc<Core<J>>);

impl<J: Journal> Drop for Guard<J> {
    fn drop(&mut self) {
        self.0.kill.cancel();
    }
}

impl<J: Journal> Clone for Engine<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Journal> fmt::Debug for Engine<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core().fmt(f)
    }
}

impl<J: Journal> Engine<J> {
    /// Begins an engine on a journal.
    pub fn builder(journal: Arc<J>) -> EngineBuilder<J> {
        EngineBuilder::new(journal)
    }

    fn core(&self) -> &Arc<Core<J>> {
        &self.0.0
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<J> {
        &self.core().journal
    }

    /// This engine among the replicas.
    pub fn replica(&self) -> &ReplicaId {
        &self.core().replica
    }

    /// Whether sagas can be started: the lease is held and the engine is not being drained.
    pub fn is_ready(&self) -> bool {
        self.core().lease.is_held() && !self.core().closing.is_cancelled()
    }

    /// How many sagas are in memory.
    pub fn active(&self) -> usize {
        self.core().active.lock().len()
    }

    /// Stores a saga in the caller's transaction. After the commit, launch what is returned.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is stored then.
    pub async fn start_in_tx<S: Saga<Local = J::Local>>(
        &self,
        tx: &mut J::Tx,
        saga: NewSaga<S>,
    ) -> Result<Started<J>, StartError> {
        let (started, row) = self.prepare(saga)?;
        self.core().journal.start_in_tx(tx, &row).await.map_err(StartError::Journal)?;
        Ok(started)
    }

    /// Stores a saga in a transaction of its own, and runs it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start<S: Saga<Local = J::Local>>(&self, saga: NewSaga<S>) -> Result<Handle, StartError> {
        let (started, row) = self.prepare(saga)?;
        self.core().journal.start(&row).await.map_err(StartError::Journal)?;
        Ok(started.launch())
    }

    fn prepare<S: Saga<Local = J::Local>>(&self, saga: NewSaga<S>) -> Result<(Started<J>, NewRow), StartError> {
        let core = self.core();
        if core.closing.is_cancelled() {
            return Err(StartError::Draining);
        }
        if !core.lease.is_held() {
            return Err(StartError::NotReady);
        }
        let unregistered = StartError::Unregistered { name: S::NAME, version: S::VERSION };
        let definition = core.definition(S::NAME, S::VERSION).ok_or(unregistered)?;
        let seat = Arc::clone(&core.seats).try_acquire_owned().map_err(|_full| StartError::Overloaded)?;
        let input = serde_json::to_string(&saga.state).map_err(StartError::State)?;
        // Read back at once: a state that cannot be is better found out now than after a crash.
        let driver = definition.open(&input).map_err(StartError::State)?;
        let at = core.now();
        let new = NewRow {
            id: saga.id,
            definition: DefinitionId { name: S::NAME.to_owned(), version: S::VERSION },
            subject: saga.subject,
            input,
            trace: saga.trace,
            owner: core.replica.clone(),
            at,
        };
        let row = SagaRow {
            id: new.id,
            definition: new.definition.clone(),
            subject: new.subject.clone(),
            input: String::new(),
            trace: new.trace.clone(),
            status: Status::Running,
            step: None,
            failure: None,
            parked: None,
            seq: 0,
            fence: 1,
            owner: Some(core.replica.clone()),
            wake_at: None,
            request: None,
            created_at: at,
            updated_at: at,
            finished_at: None,
        };
        core.starting.lock().insert(saga.id);
        Ok((Started { core: Arc::clone(core), row, definition, prepared: Some(Prepared { driver, seat }) }, new))
    }

    /// To wait for a saga, wherever it runs.
    pub fn handle(&self, id: SagaId) -> Handle {
        match self.core().active(id) {
            Some(active) => active.subscribe(id),
            None => self.core().watchers.watch(id),
        }
    }

    /// A saga's durable state now, if there is such a saga.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn snapshot(&self, id: SagaId) -> Result<Option<Snapshot>, JournalError> {
        Ok(self.core().journal.row(id).await?.map(|row| row.snapshot()))
    }

    /// What happened to a saga, step by step, if there is such a saga. For one that runs here it includes what is not journaled yet.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn timeline(&self, id: SagaId) -> Result<Option<Timeline>, JournalError> {
        let Some(mut stored) = self.core().journal.load(id).await? else { return Ok(None) };
        if let Some(records) = self.core().active(id).map(|active| active.records())
            && records.len() > stored.records.len()
        {
            stored.records = records;
        }
        Ok(Some(Timeline::new(stored)))
    }

    /// Sagas, newest first.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        self.core().journal.list(filter).await
    }

    /// How many sagas there are that have not finished.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn stats(&self) -> Result<Stats, JournalError> {
        self.core().journal.stats(self.core().now()).await
    }

    /// Asks a saga to unwind. Honoured unless its pivot is done; the timeline tells.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn cancel(&self, id: SagaId, by: Operator) -> Result<Requested, JournalError> {
        self.ask(id, by, Wish::Cancel).await
    }

    /// Asks for what a saga is parked at, or waits to try again, to be tried now and with a fresh budget.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn retry(&self, id: SagaId, by: Operator) -> Result<Requested, JournalError> {
        self.ask(id, by, Wish::Retry).await
    }

    /// Takes the fate of a step of a parked saga as settled by hand, and lets the saga go on.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn resolve(
        &self,
        id: SagaId,
        by: Operator,
        step: &str,
        resolution: Resolution,
    ) -> Result<Requested, JournalError> {
        self.ask(id, by, Wish::Resolve { step: step.to_owned(), resolution }).await
    }

    async fn ask(&self, id: SagaId, operator: Operator, wish: Wish) -> Result<Requested, JournalError> {
        let request = OperatorRequest { operator, wish, at: self.core().now() };
        let requested = self.core().journal.request(id, &request).await?;
        if requested == Requested::Accepted
            && let Some(active) = self.core().active(id)
        {
            active.request(request);
        }
        Ok(requested)
    }

    /// Refuses new sagas, lets those in flight settle for at most `bound`, hands the rest over to other replicas, and stops.
    pub async fn drain(&self, bound: Duration) -> Drained {
        let core = self.core();
        core.closing.cancel();
        let at_first = self.active();
        let all_left = async {
            loop {
                let left = core.left.notified();
                if self.active() == 0 {
                    return;
                }
                left.await;
            }
        };
        let _in_time = tokio::time::timeout(bound, all_left).await;
        let handed_over = self.active();
        core.hand_over.cancel();
        core.tasks.close();
        if tokio::time::timeout(core.config.lease, core.tasks.wait()).await.is_err() {
            // What is left hangs in a journal that does not answer; others take it over when the lease ends.
            core.kill.cancel();
        }
        if let Err(error) = core.journal.retire(&core.replica, core.now()).await {
            tracing::warn!(%error, "the replica could not be retired; its lease ends by itself");
        }
        Drained { settled: at_first.saturating_sub(handed_over), handed_over }
    }

    /// Stops everything where it is, as a crash would.
    pub fn kill(&self) {
        self.core().kill.cancel();
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
