//! Putting an engine together, and starting its tasks.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use amends_primitives::{Clock, IdSource, RandomIds, SystemClock};
use opentelemetry::Context;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Engine, Guard};
use crate::{
    Config, Definition, Saga,
    journal::{DefinitionId, Journal, ReplicaId},
    metrics::EngineMetrics,
    runner::{Core, Definitions, Intercept, Jitter, Lease, Watchers},
};

/// Puts an engine together.
pub struct EngineBuilder<J: Journal> {
    journal: Arc<J>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    config: Config,
    metrics: EngineMetrics,
    definitions: Definitions<J::Local>,
    jitter: Jitter,
    intercept: Option<Arc<dyn Intercept>>,
    spans: Context,
}

impl<J: Journal> EngineBuilder<J> {
    pub(super) fn new(journal: Arc<J>) -> Self {
        Self {
            journal,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            config: Config::default(),
            metrics: EngineMetrics::default(),
            definitions: Vec::new(),
            jitter: Arc::new(rand::random::<f64>),
            intercept: None,
            spans: Context::new(),
        }
    }

    /// What the context of every span holds besides its parent, such as whose span it is. Default: nothing.
    #[must_use]
    pub fn spans_in(self, spans: Context) -> Self {
        Self { spans, ..self }
    }

    /// Where the time comes from. Default: the machine's clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Where the replica's id comes from. Default: random.
    #[must_use]
    pub fn ids(self, ids: Arc<dyn IdSource>) -> Self {
        Self { ids, ..self }
    }

    /// The limits.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// The counters; keep a clone to register it.
    #[must_use]
    pub fn metrics(self, metrics: EngineMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Where jitter comes from: numbers in `0.0..1.0`. Default: random.
    #[must_use]
    pub fn jitter(self, jitter: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { jitter: Arc::new(jitter), ..self }
    }

    /// Puts something between the engine and the steps, to make participants and networks fail in tests.
    #[must_use]
    pub fn intercept(self, intercept: Arc<dyn Intercept>) -> Self {
        Self { intercept: Some(intercept), ..self }
    }

    /// Makes a kind of saga known. Several versions of one kind may be registered; each saga goes on with the one it began with.
    #[must_use]
    pub fn register<S: Saga<Local = J::Local>>(mut self, definition: Definition<S>) -> Self {
        let id = DefinitionId { name: S::NAME.to_owned(), version: S::VERSION };
        self.definitions.retain(|(registered, _)| *registered != id);
        self.definitions.push((id, Arc::new(definition)));
        self
    }

    /// Starts the engine's tasks in the current tokio runtime: heartbeats, recovery, waiting for others' sagas. Needs no database yet.
    pub fn start(self) -> Engine<J> {
        let exclusive = self.journal.is_exclusive();
        let core = Arc::new(Core {
            seats: Arc::new(Semaphore::new(self.config.sagas_max.min(Semaphore::MAX_PERMITS))),
            known: self.definitions.iter().map(|(id, _)| id.clone()).collect(),
            replica: ReplicaId::new(self.ids.next_id().to_string()),
            journal: self.journal,
            clock: self.clock,
            config: self.config,
            metrics: self.metrics,
            definitions: self.definitions,
            jitter: self.jitter,
            intercept: self.intercept,
            spans: self.spans,
            lease: Lease::new(exclusive),
            active: Mutex::new(HashMap::new()),
            starting: Mutex::new(HashSet::new()),
            watchers: Watchers::default(),
            left: Notify::new(),
            sweep: Notify::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            hand_over: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        let keeper = Arc::clone(&core);
        core.tasks.spawn(async move {
            let (kill, hand_over) = (keeper.kill.clone(), keeper.hand_over.clone());
            let _stopped = kill.run_until_cancelled(hand_over.run_until_cancelled(keeper.keep())).await;
        });
        let purger = Arc::clone(&core);
        core.tasks.spawn(async move {
            let (kill, hand_over) = (purger.kill.clone(), purger.hand_over.clone());
            let _stopped = kill.run_until_cancelled(hand_over.run_until_cancelled(purger.purge())).await;
        });
        let watcher = Arc::clone(&core);
        core.tasks.spawn(async move {
            let (kill, hand_over) = (watcher.kill.clone(), watcher.hand_over.clone());
            let _stopped = kill.run_until_cancelled(hand_over.run_until_cancelled(watcher.watch_others())).await;
        });
        Engine(Arc::new(Guard(core)))
    }
}
