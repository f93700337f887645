//! What this service needs from others: a store, an inventory, payments. Use cases and saga steps see these traits only.
//!
//! Must not know: SQL text, gRPC, HTTP.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use amends_primitives::{Money, OrderId, PaymentId, ReservationId, SagaId, Timestamp};
use amends_sql::{SqlError, Tx};
use async_trait::async_trait;
use saga_engine::{Closed, Outcome, Refusal, StepContext, Undo};
use tokio::time::Instant;

use crate::domain::{
    CatalogueItem, Command, CustomerId, Event, Failure, InvalidWord, Line, Order, PaymentMethod, Receipt, Sku, Status,
};

/// Names one request of one caller; kept with a fingerprint of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Parses a key.
    ///
    /// # Errors
    /// Unless it is 1 to 255 visible ASCII characters.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidWord> {
        let text = text.into();
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(InvalidWord("must be 1 to 255 visible ASCII characters")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256, in hex, of what a request asks for: the same key with another fingerprint is another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of the canonical bytes of a request.
    pub fn of(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self(digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }

    /// As it was stored.
    pub const fn stored(hex: String) -> Self {
        Self(hex)
    }

    /// In hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who has a key, and for which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The order placed under it.
    pub order: OrderId,
    /// Of the request that placed it.
    pub fingerprint: Fingerprint,
}

/// A new order, to be written in one transaction with its key, its first event and its saga's start.
#[derive(Debug, Clone)]
pub struct StartOrder {
    /// Pending, version 1.
    pub order: Order,
    /// [`Event::Placed`].
    pub placed: Event,
    /// The key it is placed under.
    pub key: IdempotencyKey,
    /// Of the request.
    pub fingerprint: Fingerprint,
    /// Until then the key is kept at least.
    pub key_expires_at: Timestamp,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// Written.
    First,
    /// Nothing written: the key is taken.
    Again(Claim),
}

/// Adds a saga's start to the store's transaction.
#[async_trait]
pub trait SagaStart: Send + Sync {
    /// Writes.
    ///
    /// # Errors
    /// The transaction is then rolled back.
    async fn start_in_tx(&self, tx: &mut Tx) -> Result<(), BeginError>;
}

/// Why an order or a saga could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The store failed.
    #[error("the order store failed")]
    Store(#[from] SqlError),
    /// As many sagas are running here as may, or this replica is about to stop.
    #[error("no more sagas can begin here now")]
    Overloaded,
}

/// Which orders to list, newest first.
#[derive(Debug, Clone)]
pub struct ListOrders {
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// Only these.
    pub status: Option<Status>,
    /// The page begins after this one.
    pub before: Option<OrderId>,
    /// How many at most; at least 1.
    pub limit: u16,
}

/// A page of orders.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first.
    pub orders: Vec<Order>,
    /// Where the next page begins; none on the last.
    pub next: Option<OrderId>,
}

/// What a change made of an order, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its status now.
    pub status: Status,
    /// What it costs.
    pub total: Money,
    /// When it was placed.
    pub created_at: Timestamp,
    /// The trace it was placed in.
    pub trace_id: String,
}

/// A change to an order that commits with its saga's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderChange {
    /// Everything is paid for and committed.
    Confirm {
        /// Which order.
        order: OrderId,
        /// From `charge_payment`.
        payment: Option<PaymentId>,
        /// From `reserve_stock`.
        reservation: Option<ReservationId>,
        /// What was placed.
        placed: Placed,
    },
    /// Everything is undone.
    Fail {
        /// Which order.
        order: OrderId,
        /// Why.
        failure: Failure,
        /// The payment that was taken and given back.
        refunded: Option<PaymentId>,
        /// Whether the same request may be tried anew.
        give_key_back: bool,
        /// What was placed.
        placed: Placed,
    },
    /// The cancellation's pivot.
    MarkCancelling {
        /// Which order.
        order: OrderId,
        /// Which saga.
        by: SagaId,
    },
    /// The cancellation's end.
    MarkCancelled {
        /// Which order.
        order: OrderId,
        /// Which saga.
        by: SagaId,
    },
}

/// What a saga that places an order knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Who ordered.
    pub customer: CustomerId,
    /// What it costs.
    pub total: Money,
}

impl OrderChange {
    /// What was placed, where the change is the end of placing it.
    pub(crate) const fn placed(&self) -> Option<&Placed> {
        match self {
            Self::Confirm { placed, .. } | Self::Fail { placed, .. } => Some(placed),
            Self::MarkCancelling { .. } | Self::MarkCancelled { .. } => None,
        }
    }

    /// The order, the command, and whether the idempotency key is given back.
    pub(crate) fn command(&self) -> Result<(OrderId, Command, bool), Refusal> {
        Ok(match self.clone() {
            Self::Confirm { order, payment, reservation, .. } => match (payment, reservation) {
                (Some(payment), Some(reservation)) => {
                    (order, Command::Confirm { receipt: Receipt { payment, reservation } }, false)
                }
                // Comes after the pivot, so the engine tries again and then parks: a human sees it, nothing is lost.
                _ => {
                    return Err(Refusal::new(
                        "missing_output",
                        "the saga's state lacks the payment or the reservation",
                    ));
                }
            },
            Self::Fail { order, failure, refunded, give_key_back, .. } => {
                (order, Command::Fail { failure, refunded }, give_key_back)
            }
            Self::MarkCancelling { order, by } => (order, Command::MarkCancelling { by }, false),
            Self::MarkCancelled { order, by } => (order, Command::MarkCancelled { by }, false),
        })
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Expired idempotency keys.
    pub keys: u64,
    /// Orders whose events are past their retention.
    pub events: u64,
    /// Whether a batch was full.
    pub may_have_more: bool,
}

/// Keeps orders. Every call is bounded in time.
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Who has a key.
    async fn claim(&self, customer: &CustomerId, key: &IdempotencyKey) -> Result<Option<Claim>, SqlError>;
    /// Order, key, event and saga start: one commit, or nothing.
    async fn start(&self, start: StartOrder, saga: Arc<dyn SagaStart>) -> Result<Started, BeginError>;
    /// A saga about an order that exists: one commit.
    async fn begin(&self, saga: Arc<dyn SagaStart>) -> Result<(), BeginError>;
    /// One order.
    async fn order(&self, id: OrderId) -> Result<Option<Order>, SqlError>;
    /// A page of orders, newest first, by keyset: no page costs more than another.
    async fn list(&self, ask: &ListOrders) -> Result<Page, SqlError>;
    /// Removes a batch of expired keys, and the events of a batch of orders that last changed before a time.
    async fn sweep(&self, now: Timestamp, events_before: Timestamp) -> Result<Swept, SqlError>;
}

/// A participant cannot be asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{dependency} cannot be asked: {message}")]
pub struct Unavailable {
    /// Which one.
    pub dependency: &'static str,
    /// What is known, for the log.
    pub message: String,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

/// What the catalogue knows of the articles asked for.
pub type Catalogue = HashMap<Sku, CatalogueItem>;

/// A page of the catalogue.
#[derive(Debug, Clone)]
pub struct ItemsPage {
    /// In SKU order.
    pub items: Vec<CatalogueItem>,
    /// Opaque; none on the last page.
    pub next: Option<String>,
}

/// Why a page of the catalogue cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListItemsError {
    /// The cursor is not one of ours.
    #[error("the cursor is not valid")]
    BadCursor,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What to reserve. The same in every attempt, as its fingerprint must be.
#[derive(Debug, Clone)]
pub struct Reserve<'a> {
    /// For which order.
    pub order: OrderId,
    /// What, at which prices.
    pub lines: &'a [Line],
}

/// What to charge. The same in every attempt, as its fingerprint must be.
#[derive(Debug, Clone)]
pub struct Charge<'a> {
    /// For which order.
    pub order: OrderId,
    /// Whom.
    pub customer: &'a CustomerId,
    /// How much.
    pub amount: Money,
    /// How.
    pub method: &'a PaymentMethod,
}

/// The catalogue and stock participant.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Reads several articles; what does not exist is absent.
    async fn items(&self, skus: &[Sku], until: Instant) -> Result<Catalogue, Unavailable>;
    /// Reads one article.
    async fn item(&self, sku: &Sku, until: Instant) -> Result<Option<CatalogueItem>, Unavailable>;
    /// Pages through the catalogue.
    async fn list_items(&self, limit: u16, cursor: Option<&str>, until: Instant) -> Result<ItemsPage, ListItemsError>;
    /// Reserves all lines or none.
    async fn reserve(&self, ask: &Reserve<'_>, step: &StepContext) -> Outcome<ReservationId>;
    /// Undoes a reservation by the key of its step.
    async fn release(&self, ask: &Reserve<'_>, step: &StepContext) -> Undo;
    /// Sells what is reserved.
    async fn commit(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()>;
    /// Sees to it, by the key of its step, that a commit that is not done never will be.
    async fn close_commit(&self, reservation: Option<ReservationId>, step: &StepContext) -> Closed<()>;
    /// Puts what was sold back on sale.
    async fn restock(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()>;
}

/// The payment participant.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Whether it is worth asking at all. An open circuit says no: then no order should begin whose stock would have to wait, held,
    /// until payments are back to be undone.
    fn ready(&self) -> Result<(), Unavailable>;
    /// Takes the money.
    async fn charge(&self, ask: &Charge<'_>, step: &StepContext) -> Outcome<PaymentId>;
    /// Undoes a charge by the key of its step.
    async fn compensate(&self, ask: &Charge<'_>, step: &StepContext) -> Undo;
    /// Gives all of it back.
    async fn refund(&self, payment: PaymentId, step: &StepContext) -> Outcome<()>;
}
