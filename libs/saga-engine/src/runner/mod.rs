//! What runs sagas: one task for each, one that keeps this replica's lease and finds work, one that watches others' sagas for those
//! who wait here.
//!
//! ```text
//!   host ──start_in_tx──▶ journal          keeper ──heartbeat, claim, owned──▶ journal
//!    │                                        │ claimed, orphaned
//!    └──launch──▶ saga task ◀─────────────────┘
//!                   │  plan::next ─▶ perform ─▶ participants
//!                   │  transition::apply
//!                   └──append──▶ journal ──▶ snapshot ──▶ waiting callers
//! ```

mod keeper;
mod lease;
mod perform;
mod saga;
mod spans;
mod store_clock;
mod wall;
mod watcher;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use amends_primitives::{Clock, SagaId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, Handle, Happened, Snapshot, Told, UnreadableOutput,
    driver::{AnyDefinition, Driver},
    event::{Event, Record},
    journal::{DefinitionId, Journal, OperatorRequest, ReplicaId, SagaRow, Stored},
    metrics::EngineMetrics,
    state::State,
    transition::{self, IllegalEvent},
};

pub(crate) use lease::Lease;
pub use perform::{Call, Intercept};
pub(crate) use watcher::Watchers;

pub(crate) type Definitions<L> = Vec<(DefinitionId, Arc<dyn AnyDefinition<L>>)>;
/// Random numbers in `0.0..1.0`.
pub(crate) type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;
type Snapshots = watch::Sender<Option<Snapshot>>;

/// What all tasks of an engine share.
pub(crate) struct Core<J: Journal> {
    pub(crate) journal: Arc<J>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) metrics: EngineMetrics,
    pub(crate) definitions: Definitions<J::Local>,
    pub(crate) known: Vec<DefinitionId>,
    pub(crate) replica: ReplicaId,
    pub(crate) jitter: Jitter,
    pub(crate) intercept: Option<Arc<dyn Intercept>>,
    /// What the context of every span holds besides its parent.
    pub(crate) spans: opentelemetry::Context,
    pub(crate) lease: Lease,
    /// One for each saga in memory.
    pub(crate) seats: Arc<Semaphore>,
    pub(crate) active: Mutex<HashMap<SagaId, Arc<Active>>>,
    /// Stored in transactions that may not be committed yet.
    pub(crate) starting: Mutex<HashSet<SagaId>>,
    pub(crate) watchers: Watchers,
    /// Told whenever a saga leaves memory.
    pub(crate) left: Notify,
    /// Asks the keeper to look soon whether all owned sagas are in memory.
    pub(crate) sweep: Notify,
    pub(crate) tasks: TaskTracker,
    /// No new sagas.
    pub(crate) closing: CancellationToken,
    /// Sagas give themselves up to other replicas.
    pub(crate) hand_over: CancellationToken,
    /// Everything stops where it is, as in a crash.
    pub(crate) kill: CancellationToken,
}

/// One saga in memory, as others here see it.
pub(crate) struct Active {
    snapshots: Arc<Snapshots>,
    requests: mpsc::Sender<OperatorRequest>,
    /// All its events, also those not journaled yet.
    records: Mutex<Vec<Record>>,
    /// Another replica has it.
    lost: CancellationToken,
}

/// A saga's stored events do not make a saga of its definition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the saga's input cannot be read by this definition")]
    Input(#[source] serde_json::Error),
    #[error("the journal holds an event that cannot have happened")]
    Event(#[source] IllegalEvent),
    #[error("the journal holds an output that cannot be read")]
    Output(#[source] UnreadableOutput),
}

impl Active {
    pub(crate) fn request(&self, request: OperatorRequest) {
        // A full inbox is no loss: the request waits in the saga's row.
        let _full = self.requests.try_send(request);
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }

    pub(crate) fn subscribe(&self, id: SagaId) -> Handle {
        Handle::new(id, self.snapshots.subscribe())
    }
}

impl<J: Journal> Core<J> {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn definition(&self, name: &str, version: u32) -> Option<Arc<dyn AnyDefinition<J::Local>>> {
        let found = self.definitions.iter().find(|(id, _)| id.name == name && id.version == version);
        found.map(|(_, definition)| Arc::clone(definition))
    }

    pub(crate) fn is_active(&self, id: SagaId) -> bool {
        self.active.lock().contains_key(&id)
    }

    pub(crate) fn active(&self, id: SagaId) -> Option<Arc<Active>> {
        self.active.lock().get(&id).cloned()
    }

    /// Runs a saga that was just started. Doing so twice is harmless.
    pub(crate) fn run_new(
        self: &Arc<Self>,
        row: &SagaRow,
        definition: &Arc<dyn AnyDefinition<J::Local>>,
        driver: Box<dyn Driver<J::Local>>,
        seat: OwnedSemaphorePermit,
    ) -> Handle {
        if let Some(active) = self.active(row.id) {
            return active.subscribe(row.id);
        }
        let (shape, state) = (definition.shape(), State::started(definition.shape(), row.created_at));
        driver.tell(&Told { id: row.id, trace: &row.trace, happened: Happened::Started, shape, state: &state });
        self.spawn(row, definition, driver, state, Vec::new(), 0, seat)
    }

    /// Goes on with a saga that was begun by another replica, or by this one in a way it does not remember.
    pub(crate) fn run_stored(self: &Arc<Self>, stored: Stored, seat: OwnedSemaphorePermit) -> Result<(), Unreadable> {
        let Stored { row, mut records } = stored;
        let Some(definition) = self.definition(&row.definition.name, row.definition.version) else { return Ok(()) };
        let mut driver = definition.open(&row.input).map_err(Unreadable::Input)?;
        let shape = definition.shape();
        let mut state = State::started(shape, row.created_at);
        for record in &records {
            transition::apply(shape, &mut state, record).map_err(Unreadable::Event)?;
            record_output(&mut *driver, &definition, &record.event).map_err(Unreadable::Output)?;
        }
        let durable = records.len();
        let resumed = Event::Resumed { replica: self.replica.to_string(), fence: row.fence };
        let resumed = Record { at: self.now(), event: resumed };
        transition::apply(shape, &mut state, &resumed).map_err(Unreadable::Event)?;
        let happened = Happened::Event(&resumed.event);
        driver.tell(&Told { id: row.id, trace: &row.trace, happened, shape, state: &state });
        records.push(resumed);
        self.spawn(&row, &definition, driver, state, records, durable, seat);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a saga, put together in this one place")]
    fn spawn(
        self: &Arc<Self>,
        row: &SagaRow,
        definition: &Arc<dyn AnyDefinition<J::Local>>,
        driver: Box<dyn Driver<J::Local>>,
        state: State,
        records: Vec<Record>,
        durable: usize,
        seat: OwnedSemaphorePermit,
    ) -> Handle {
        let (requests, inbox) = mpsc::channel(4);
        let snapshot = Snapshot { seq: durable as u64, ..row.snapshot() };
        // Those who already wait for it, because another replica had it, go on waiting on the same channel.
        let snapshots = self.watchers.take(row.id).unwrap_or_else(|| Arc::new(watch::channel(None).0));
        publish(&snapshots, snapshot);
        let active =
            Arc::new(Active { snapshots, requests, records: Mutex::new(records), lost: CancellationToken::new() });
        let handle = active.subscribe(row.id);
        if let Some(before) = self.active.lock().insert(row.id, Arc::clone(&active)) {
            before.lost.cancel();
        }
        self.metrics.active.inc();
        let saga =
            saga::Saga::new(Arc::clone(self), row, definition, driver, state, Arc::clone(&active), inbox, durable);
        let (core, id) = (Arc::clone(self), row.id);
        self.tasks.spawn(async move {
            let _killed = core.kill.run_until_cancelled(saga.run()).await;
            core.leave(id, &active);
            drop(seat);
        });
        handle
    }

    fn leave(&self, id: SagaId, active: &Arc<Active>) {
        self.metrics.active.dec();
        let mut sagas = self.active.lock();
        if sagas.get(&id).is_some_and(|current| Arc::ptr_eq(current, active)) {
            sagas.remove(&id);
        }
        drop(sagas);
        let settled = active.snapshots.borrow().as_ref().is_some_and(Snapshot::is_settled);
        if !settled && active.snapshots.receiver_count() > 0 && !self.kill.is_cancelled() {
            // Another replica goes on with it; those who wait here are told.
            self.watchers.adopt(id, Arc::clone(&active.snapshots));
        }
        self.left.notify_waiters();
    }
}

/// Writes an event's output, if it has one, into the typed state.
fn record_output<L>(
    driver: &mut dyn Driver<L>,
    definition: &Arc<dyn AnyDefinition<L>>,
    event: &Event,
) -> Result<(), UnreadableOutput> {
    use crate::journal::Resolution;
    let (Event::StepDone { step, output, .. }
    | Event::PivotWasDone { step, output, .. }
    | Event::Resolved { step, resolution: Resolution::Done { output }, .. }) = event
    else {
        return Ok(());
    };
    match definition.shape().index_of(step) {
        Some(index) => driver.record(index, output),
        None => Ok(()),
    }
}

/// Never goes back: two sources may tell of one saga.
fn publish(snapshots: &Snapshots, snapshot: Snapshot) {
    snapshots.send_if_modified(|current| {
        let newer = current
            .as_ref()
            .is_none_or(|current| current.seq < snapshot.seq || (current.seq == snapshot.seq && *current != snapshot));
        if newer {
            *current = Some(snapshot);
        }
        newer
    });
}

impl<J: Journal> fmt::Debug for Core<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("replica", &self.replica).finish_non_exhaustive()
    }
}
