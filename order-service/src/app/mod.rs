//! The use cases, one verb a file. REST and gRPC are two ways in; the rules are here and in the domain, once.
//!
//! Must not know: HTTP, gRPC, SQL text.

mod accepted;
mod cancel_order;
mod draft;
mod get_order;
mod items;
mod list_orders;
mod noted;
mod place_order;
mod settle;
mod timeline;
mod turns;
mod watch_order;

use std::{future::Future, sync::Arc, time::Duration};

use amends_primitives::{Clock, IdSource, OrderId};
use amends_resilience::Admission;
use amends_sql::SqlError;
use saga_engine::TraceContext;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    domain::{CustomerId, Order},
    metrics::Meters,
    ports::{BeginError, Inventory, OrderStore, Payments, Unavailable},
    saga::Sagas,
};

use self::accepted::Accepted;

pub use cancel_order::{CancelError, Cancelled};
pub use draft::{Draft, DraftLine, DraftPrice, FieldProblem, Invalid, KeyProblem, idempotency_key};
pub use items::ItemsError;
pub use list_orders::{Listed, PAGE_DEFAULT, PAGE_MAX};
pub use place_order::{PlaceOrder, PlaceOrderError, Placed};
pub use timeline::WhichSaga;
pub use watch_order::Watched;

/// Who asks, as the verified token says.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's subject.
    pub customer: CustomerId,
    /// Whether the caller may see all customers' orders.
    pub admin: bool,
}

impl Caller {
    fn may_see(&self, order: &Order) -> bool {
        self.admin || order.head.customer == self.customer
    }
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimits {
    /// Until then for the saga's end; after that the answer is the order as it stands.
    pub settle_until: Instant,
    /// Until then for everything else: past it the answer is "unavailable".
    pub accept_until: Instant,
}

impl WaitLimits {
    /// Waits `wait` for the end. A caller that does not wait for the end still waits for the order to be accepted, `accept` at most.
    pub fn new(now: Instant, wait: Duration, accept: Duration) -> Self {
        let accept = if wait.is_zero() { accept } else { accept.min(wait) };
        Self { settle_until: now + wait, accept_until: now + accept }
    }
}

/// Limits of the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long idempotency keys are kept at least.
    pub keys_kept_for: Duration,
    /// How long outbox rows are kept.
    pub events_kept_for: Duration,
    /// How often a watched order is looked at, at first; the wait doubles up to `poll_max`. A saga's end is told at once.
    pub poll_min: Duration,
    /// How often a watched order is looked at, at last.
    pub poll_max: Duration,
    /// How long a caller of a saga that unwinds because a service is away waits for that unwinding.
    pub unwinding_grace: Duration,
    /// What callers are told to wait when a service is away and said nothing itself.
    pub retry_after: Duration,
    /// How long one stream of changes may last.
    pub watch_max: Duration,
    /// How long callers wait for sagas once the process stops. Then they hear that their order is accepted; cut off with the connection,
    /// they would hear nothing.
    pub stopping_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys_kept_for: Duration::from_hours(7 * 24),
            events_kept_for: Duration::from_hours(7 * 24),
            poll_min: Duration::from_millis(20),
            poll_max: Duration::from_millis(500),
            unwinding_grace: Duration::from_millis(300),
            retry_after: Duration::from_secs(2),
            watch_max: Duration::from_mins(10),
            stopping_wait: Duration::from_secs(3),
        }
    }
}

/// What the use cases work with.
pub struct Core {
    /// Keeps orders.
    pub store: Arc<dyn OrderStore>,
    /// Sells goods.
    pub inventory: Arc<dyn Inventory>,
    /// Takes money.
    pub payments: Arc<dyn Payments>,
    /// Runs sagas.
    pub sagas: Sagas,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Limits.
    pub settings: Settings,
    /// Callers who wait, whatever for: more are refused at once, because a queue would only make all of them late.
    pub permits: Arc<Semaphore>,
    /// Lets orders and cancellations in: as many as can be finished in reasonable time.
    pub admission: Admission,
    /// What knows a repeat when there is too much to do.
    pub repeats: Repeats,
    /// Streams of changes being served.
    pub watches: Arc<Semaphore>,
    /// Counts orders, and requests for them that came to nothing.
    pub meters: Meters,
    /// Runs what must not stop when its caller goes away, and waits for it at shutdown.
    pub shutdown: service_kit::shutdown::Shutdown,
}

/// How repeats are known of requests that were let in before. They are no new work, and are never refused for want of room for it.
#[derive(Debug)]
pub struct Repeats {
    accepted: Accepted,
    /// Look-ups at once of requests that are refused otherwise: a repeat of what another process has let in, or this one long ago.
    lookups: Semaphore,
}

/// Few, so that refusing stays cheap, and enough that a repeat that comes back has its turn.
const LOOKUPS_AT_ONCE: usize = 4;

impl Default for Repeats {
    fn default() -> Self {
        Self { accepted: Accepted::default(), lookups: Semaphore::new(LOOKUPS_AT_ONCE) }
    }
}

/// Why something that breaks no rule cannot be done now.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The store does not answer, or answers nonsense.
    #[error("the order store failed")]
    Store(#[from] SqlError),
    /// A participant does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Too much is going on.
    #[error("too many requests are in flight")]
    Overloaded,
}

/// The order does not exist, or is another customer's: the two look the same, so that a caller does not learn which.
#[derive(Debug, thiserror::Error)]
#[error("there is no such order")]
pub struct NotFound;

/// Why one order could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// It is not there for this caller.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Not now.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl From<SqlError> for LookupError {
    fn from(error: SqlError) -> Self {
        Self::Failed(Failed::Store(error))
    }
}

impl Core {
    /// The order, if it is the caller's to see.
    async fn visible(&self, caller: &Caller, id: OrderId, until: Instant) -> Result<Order, LookupError> {
        noted::order(id);
        match in_time(until, self.store.order(id)).await? {
            Some(order) if caller.may_see(&order) => Ok(order),
            _ => Err(NotFound.into()),
        }
    }
}

impl From<BeginError> for Failed {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Store(error) => Self::Store(error),
            BeginError::Overloaded => Self::Overloaded,
        }
    }
}

/// The trace of the request at hand, for the saga's row.
fn current_trace() -> TraceContext {
    service_base::context::current_trace_text().map_or(TraceContext::none(), |text| TraceContext::parse(&text))
}

/// A store call that also ends when its caller's time is up.
async fn in_time<T>(until: Instant, call: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    tokio::time::timeout_at(until, call).await.unwrap_or(Err(SqlError::TimedOut))
}
