//! The engine as the use cases see it: begin a saga in the store's transaction, launch it, wait for it, ask for it.

use std::{sync::Arc, time::Duration};

use amends_primitives::{OrderId, SagaId};
use amends_sql::{SqlError, Tx};
use async_trait::async_trait;
use parking_lot::Mutex;
use saga_engine::{
    Engine, FailureKind, NewSaga, Saga, Snapshot, StartError, Started, Status, TraceContext, Waited as EngineWaited,
    journal::{Journal as _, JournalError},
    timeline::Timeline,
};
use tokio::time::Instant;

use super::{CancelOrder, PlaceOrder, cancel_order, place_order};
use crate::{
    ports::{BeginError, OrderChange, SagaStart},
    store::Journal,
};

/// The sagas of this service.
#[derive(Clone)]
pub struct Sagas {
    engine: Engine<Journal>,
}

/// What waiting for a saga came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// It has come to its end, which is durable.
    Finished(Status),
    /// The time is up, or it is parked.
    Running(Status),
    /// It unwinds because a service is away, and that could not be done at once.
    Stuck,
}

/// A saga about to begin: written by the store, then launched.
pub struct Begin<S: Saga<Local = OrderChange>> {
    engine: Engine<Journal>,
    saga: NewSaga<S>,
    /// Filled inside the transaction. Dropped unlaunched, for a commit that failed or whose answer was lost, the engine finds out by
    /// itself whether there is a saga to run.
    started: Mutex<Option<Started<Journal>>>,
}

impl<S: Saga<Local = OrderChange>> Begin<S> {
    /// Runs the saga, after the commit.
    pub fn launch(&self) {
        if let Some(started) = self.started.lock().take() {
            let _handle = started.launch();
        }
    }
}

#[async_trait]
impl<S: Saga<Local = OrderChange>> SagaStart for Begin<S> {
    async fn start_in_tx(&self, tx: &mut Tx) -> Result<(), BeginError> {
        let NewSaga { id, state, subject, trace } = &self.saga;
        let saga = NewSaga { id: *id, state: state.clone(), subject: subject.clone(), trace: trace.clone() };
        let started = self.engine.start_in_tx::<S>(tx, saga).await.map_err(begin_error)?;
        *self.started.lock() = Some(started);
        Ok(())
    }
}

impl Sagas {
    /// On a running engine.
    pub const fn new(engine: Engine<Journal>) -> Self {
        Self { engine }
    }

    /// The engine, for operators.
    pub const fn engine(&self) -> &Engine<Journal> {
        &self.engine
    }

    /// Placing an order.
    pub fn place(&self, id: SagaId, state: place_order::State, trace: TraceContext) -> Begin<PlaceOrder> {
        let subject = state.order;
        self.begin(id, subject, state, trace)
    }

    /// Cancelling an order.
    pub fn cancel(&self, id: SagaId, state: cancel_order::State, trace: TraceContext) -> Begin<CancelOrder> {
        let subject = state.order;
        self.begin(id, subject, state, trace)
    }

    fn begin<S: Saga<Local = OrderChange>>(
        &self,
        id: SagaId,
        subject: OrderId,
        state: S::State,
        trace: TraceContext,
    ) -> Begin<S> {
        let saga = NewSaga { id, state, subject: subject.to_string(), trace };
        Begin { engine: self.engine.clone(), saga, started: Mutex::new(None) }
    }

    /// Waits for a saga's end. A saga that unwinds because a service is away is waited for no longer than `grace`: undoing needs
    /// services too, and its caller already knows enough to try again later.
    pub async fn wait(&self, id: SagaId, until: Instant, grace: Duration) -> Waited {
        let handle = self.engine.handle(id);
        let left = || until.saturating_duration_since(Instant::now());
        let (decided, patience) = match handle.decided(left()).await {
            EngineWaited::Running(latest) => (latest, Duration::ZERO),
            EngineWaited::Settled(snapshot) => {
                let patience = if is_for_want_of_a_service(&snapshot) { grace.min(left()) } else { left() };
                (Some(snapshot), patience)
            }
        };
        let last = match decided {
            Some(snapshot) if !snapshot.is_settled() && !patience.is_zero() => match handle.settled(patience).await {
                EngineWaited::Settled(snapshot) => Some(snapshot),
                EngineWaited::Running(latest) => latest.or(Some(snapshot)),
            },
            decided => decided,
        };
        match last {
            Some(snapshot) if snapshot.status.is_finished() => Waited::Finished(snapshot.status),
            Some(snapshot) if is_for_want_of_a_service(&snapshot) => Waited::Stuck,
            Some(snapshot) => Waited::Running(snapshot.status),
            None => Waited::Running(Status::Running),
        }
    }

    /// Waits until a saga has settled, or until a time.
    pub async fn settled(&self, id: SagaId, until: Instant) {
        let _ = self.engine.handle(id).settled(until.saturating_duration_since(Instant::now())).await;
    }

    /// Where a saga is, if there is such a saga.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status(&self, id: SagaId) -> Result<Option<Status>, SqlError> {
        let snapshot = self.engine.snapshot(id).await.map_err(journal_error)?;
        Ok(snapshot.map(|snapshot| snapshot.status))
    }

    /// Where several sagas are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn statuses(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, Status)>, SqlError> {
        Self::statuses_in(self.engine.journal(), ids).await
    }

    /// Where several sagas are, by their journal.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn statuses_in(journal: &Arc<Journal>, ids: &[SagaId]) -> Result<Vec<(SagaId, Status)>, SqlError> {
        let snapshots = journal.snapshots(ids).await.map_err(journal_error)?;
        Ok(snapshots.into_iter().map(|snapshot| (snapshot.id, snapshot.status)).collect())
    }

    /// What happened to a saga, if there is such a saga.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn timeline(&self, id: SagaId) -> Result<Option<Timeline>, SqlError> {
        self.engine.timeline(id).await.map_err(journal_error)
    }
}

/// Whether the saga failed because a service could not be reached, rather than for a reason that the customer can correct.
fn is_for_want_of_a_service(snapshot: &Snapshot) -> bool {
    snapshot.failure.as_ref().is_some_and(|failure| match failure.kind {
        FailureKind::Exhausted | FailureKind::DeadlineExceeded => true,
        FailureKind::Refused | FailureKind::Cancelled => false,
    })
}

fn begin_error(error: StartError) -> BeginError {
    match error {
        StartError::Overloaded | StartError::Draining => BeginError::Overloaded,
        // The lease lapses when the database does not answer.
        StartError::NotReady => BeginError::Store(SqlError::TimedOut),
        StartError::Journal(error) => BeginError::Store(journal_error(error)),
        StartError::Unregistered { .. } | StartError::State(_) => {
            tracing::error!(%error, "a saga that cannot be started");
            BeginError::Store(SqlError::Unexpected { what: "the saga cannot be started" })
        }
    }
}

/// The journal is in our own store, so its failures are the store's.
fn journal_error(error: JournalError) -> SqlError {
    match error {
        JournalError::Unavailable(source) => match source.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(_) => SqlError::TimedOut,
        },
        JournalError::Exists(_) | JournalError::Corrupt { .. } | JournalError::Bug(_) => {
            tracing::error!(error = %amends_sql::in_words(&error), "the journal failed");
            SqlError::Unexpected { what: "the journal failed" }
        }
    }
}
