//! The stores whose books must agree, and how long what they write is kept: what is older may be gone, and is not missed.
//!
//! Nothing here judges, and nothing is written.

use std::{sync::Arc, time::Duration};

use acquirer::store::SqlLedger;
use amends_primitives::{Clock as _, SystemClock, Timestamp};
use amends_sql::Database;
use inventory_service::audit::Store as InventoryStore;
use payment_service::audit::AuditStore;

use super::bank::Source;

/// A sweeper may be a little ahead of us: rows that are about to go are not missed.
const MARGIN: Duration = Duration::from_hours(1);

/// The stores whose books must agree.
#[derive(Clone)]
pub struct Books {
    /// Orders and their sagas.
    pub orders: Database,
    /// Payments.
    pub payments: Arc<dyn AuditStore>,
    /// What the simulated acquirer remembers, where there is or was one.
    pub ledger: Option<SqlLedger>,
    /// Stock and reservations.
    pub inventory: InventoryStore,
    /// The bank's books.
    pub bank: Source,
    /// How long rows are kept.
    pub kept: Kept,
}

/// How long rows are kept, as the services are configured; none is for ever.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Idempotency keys.
    pub keys: Duration,
    /// Rows of the outbox.
    pub events: Duration,
    /// Finished sagas.
    pub sagas: Option<Duration>,
    /// The inventory's step keys.
    pub steps: Option<Duration>,
}

impl Kept {
    /// From when on rows that are kept for so long must still be there.
    pub fn since(kept: Option<Duration>) -> Timestamp {
        kept.map_or(Timestamp::from_micros(0), |kept| {
            let age = kept.saturating_sub(MARGIN);
            SystemClock.now() - age
        })
    }

    /// For how long a key surely names one order, in microseconds.
    pub fn key_micros(self) -> i64 {
        i64::try_from(self.keys.saturating_sub(MARGIN).as_micros()).unwrap_or(i64::MAX)
    }
}
