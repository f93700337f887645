//! What the use cases need of a store, and the words both speak. Must not know: SQL text, gRPC.

use std::{fmt::Debug, sync::Arc};

use amends_primitives::{Fingerprint, OrderId, ReservationId, StepKey, Timestamp};
use amends_sql::SqlError;
use async_trait::async_trait;

use crate::domain::{Item, Line, NewItem, Rejection, Reservation, Sku};

/// A store call failed; several callers may have shared the transaction that did.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Arc<SqlError>);

impl StoreError {
    /// What happened.
    pub fn cause(&self) -> &SqlError {
        &self.0
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        Self(Arc::new(error))
    }
}

/// The key of an action, with a digest of what it asks for. What undoes or closes an action has its [`StepKey`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionKey {
    /// Names the step.
    pub step: StepKey,
    /// The same key with another fingerprint is refused.
    pub fingerprint: Fingerprint,
}

/// Why a step was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// By the rules of stock.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The key was used for another request.
    #[error("this step key belongs to another request")]
    StepKeyReused,
    /// The step was compensated before, so it comes too late.
    #[error("this step has been compensated")]
    StepCompensated,
    /// The commit was closed before, so it comes too late.
    #[error("this commit has been closed")]
    CommitClosed,
}

/// What a step led to: an answer either way.
pub type Answer<T> = Result<T, Refusal>;

/// Sets the goods of an order aside.
#[derive(Debug)]
pub struct Reserve {
    /// The action's.
    pub key: ActionKey,
    /// The reservation's id, should this be the first time the key is seen.
    pub id: ReservationId,
    /// Whose goods.
    pub order: OrderId,
    /// At least one; each SKU once.
    pub lines: Vec<Line>,
    /// When.
    pub now: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// SKUs that count as sold out: an injected fault.
    pub refuse_skus: Arc<[Sku]>,
}

/// Sells the goods of a reservation.
#[derive(Debug)]
pub struct Commit {
    /// The action's.
    pub key: ActionKey,
    /// Which.
    pub reservation: ReservationId,
    /// When.
    pub now: Timestamp,
    /// Reservations with one of these expire at this very moment: an injected fault.
    pub expire_skus: Arc<[Sku]>,
}

/// Takes the goods of a committed reservation back, once.
#[derive(Debug)]
pub struct Restock {
    /// The action's.
    pub key: ActionKey,
    /// Which.
    pub reservation: ReservationId,
    /// When.
    pub now: Timestamp,
}

/// What releasing found to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The goods were held; now they are not.
    Undone,
    /// An earlier call had done it.
    AlreadyUndone,
    /// Nothing was ever held under this key, and nothing ever will be.
    NothingToUndo,
}

/// Open reservations hold more units than there would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("open reservations hold {reserved} of {sku}: stock on hand cannot be less")]
pub struct Unputtable {
    /// The item's.
    pub sku: Sku,
    /// Units held.
    pub reserved: i64,
}

/// What was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Reservations.
    pub count: usize,
    /// Whether the batch was full, so that there may be more.
    pub may_have_more: bool,
}

/// A page of the catalogue, in SKU order (as the database collates).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemPage {
    /// At most as many as were asked for.
    pub items: Vec<Item>,
    /// Where the next page begins (after this SKU); `None` on the last page.
    pub next: Option<Sku>,
}

/// A page of reservations, in id order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationPage {
    /// At most as many as were asked for.
    pub reservations: Vec<Reservation>,
    /// Where the next page begins (after this id); `None` on the last page.
    pub next: Option<ReservationId>,
}

/// Keeps stock and reservations. Every call is bounded in time. When a change fails, whether it was committed is unknown, unless the
/// error says the statement was refused.
#[async_trait]
pub trait StockStore: Debug + Send + Sync {
    /// Creates the items that are missing, and leaves the others alone: their stock and price may have changed since. Returns how many
    /// were missing.
    async fn seed(&self, items: Vec<NewItem>, now: Timestamp) -> Result<u64, StoreError>;
    /// Creates an item, or changes its name, price and stock on hand.
    async fn put_item(&self, item: NewItem, now: Timestamp) -> Result<Result<Item, Unputtable>, StoreError>;
    /// The items of these SKUs that exist.
    async fn items(&self, skus: &[Sku]) -> Result<Vec<Item>, StoreError>;
    /// Up to `limit` items after `after`.
    async fn list_items(&self, after: Option<&Sku>, limit: usize) -> Result<ItemPage, StoreError>;
    /// One reservation.
    async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>, StoreError>;
    /// Up to `limit` reservations after `after`, of one order or of all.
    async fn reservations(
        &self,
        order: Option<OrderId>,
        after: Option<ReservationId>,
        limit: usize,
    ) -> Result<ReservationPage, StoreError>;
    /// Reserves all lines or none.
    async fn reserve(&self, ask: Reserve) -> Result<Answer<Reservation>, StoreError>;
    /// Undoes a reservation, by the key that made it. The only refusal is that of goods already sold: only a saga that went past its
    /// pivot can get there, and it must not.
    async fn release(&self, key: StepKey, now: Timestamp) -> Result<Result<Released, Rejection>, StoreError>;
    /// Sells the goods of a reservation.
    async fn commit(&self, ask: Commit) -> Result<Answer<Reservation>, StoreError>;
    /// Makes sure that no commit under this key can happen any more, unless it has happened already. Returns whether it has.
    async fn close_commit(&self, key: StepKey, now: Timestamp) -> Result<bool, StoreError>;
    /// Puts sold goods back on sale.
    async fn restock(&self, ask: Restock) -> Result<Answer<Reservation>, StoreError>;
    /// When the next open reservation expires, if there is one.
    async fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Expires at most `limit` reservations whose time has passed.
    async fn expire(&self, now: Timestamp, limit: u32) -> Result<Expired, StoreError>;
    /// Lets what was held by a clock ahead of this one be held from now on, for as long as it was meant to be, and not for the step as
    /// well: at most `limit` reservations; returns how many.
    async fn rebase(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;
    /// Forgets at most `limit` step keys under which nothing was done since `before`; returns how many. What "long ago" must exceed is
    /// said at [`Barrier::purge`](saga_engine::participant::Barrier::purge).
    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}
