//! The use cases, one verb a file: what the time is, how long goods are held, what is counted. Rules are in `domain`, rows in `store`.
//!
//! Must not know: SQL, gRPC.

mod close_commit;
mod commit;
mod items;
mod put_item;
mod release;
mod reservations;
mod reserve;
mod restock;
mod sweep;
mod wake_up;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amends_primitives::{Clock, IdSource, SteadyTime, Timestamp};
use service_kit::{Runtime, faults::Faults};

use crate::{
    config::{Config, HoldsConfig},
    metrics::StepMetrics,
    ports::StockStore,
};

pub use reserve::ReserveRequest;
pub(crate) use sweep::run_sweeper;

use wake_up::WakeUp;

/// The inventory.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<dyn StockStore>,
    clock: Arc<dyn Clock>,
    /// By which holds end: if the clock is set forward, they do not end under the sagas that made them.
    steady: Arc<Mutex<SteadyTime>>,
    ids: Arc<dyn IdSource>,
    holds: HoldsConfig,
    sweep_batch: u32,
    keys_kept_for: Option<Duration>,
    faults: Faults,
    metrics: StepMetrics,
    wake_up: WakeUp,
}

impl Inventory {
    /// Over a store.
    pub fn new(store: Arc<dyn StockStore>, config: &Config, faults: Faults, runtime: &Runtime) -> Self {
        Self {
            store,
            clock: Arc::clone(&runtime.clock),
            steady: Arc::new(Mutex::new(SteadyTime::new(Duration::from_secs(config.holds.max_secs)))),
            ids: Arc::clone(&runtime.ids),
            holds: config.holds.clone(),
            sweep_batch: config.sweeper.batch,
            keys_kept_for: config.sweeper.keys_kept_for(),
            faults,
            metrics: StepMetrics::new(&runtime.metrics),
            wake_up: WakeUp::default(),
        }
    }

    /// What goes wrong on purpose.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time by which holds end.
    fn steady_now(&self) -> Timestamp {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).now(self.clock.now(), self.clock.moment())
    }
}
