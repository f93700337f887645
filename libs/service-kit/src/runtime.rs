//! What every service is given to run with. One value per process, so that services in one process share it.

use std::{fmt, sync::Arc};

use amends_primitives::{Clock, IdSource, ManualClock, RandomIds, SeededIds, SystemClock};

use crate::{faults::FaultSwitches, readiness::Readiness, shutdown::Shutdown};
use service_base::{descriptors::Descriptors, metrics::Metrics};

/// Time, identity, metrics, shutdown, readiness and file descriptors of this process.
#[derive(Clone)]
pub struct Runtime {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Tells when to stop, and waits for what was started.
    pub shutdown: Shutdown,
    /// What must be well before this process takes work.
    pub readiness: Readiness,
    /// What goes wrong on purpose, in which service.
    pub faults: FaultSwitches,
    /// Who may open how many files and connections.
    pub descriptors: Descriptors,
}

impl Runtime {
    /// The machine's clock and random ids.
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), Arc::new(RandomIds))
    }

    /// A clock that stands still and ids that count up. Keep your own `ManualClock` and use [`Runtime::with`] to move time.
    pub fn for_testing() -> Self {
        // As a machine has that is set up for servers, whatever the one is that tests run on.
        let descriptors = Descriptors::limited_to(65_536);
        Self { descriptors, ..Self::with(Arc::new(ManualClock::default()), Arc::new(SeededIds::new(1))) }
    }

    /// A runtime on a given clock and source of ids.
    pub fn with(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let (metrics, shutdown, readiness) = (Metrics::new(), Shutdown::new(), Readiness::new());
        let descriptors = Descriptors::of_process();
        Self { clock, ids, metrics, shutdown, readiness, faults: FaultSwitches::default(), descriptors }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("shutdown", &self.shutdown).finish_non_exhaustive()
    }
}
