//! Where payments are kept: one trait, two implementations, one conformance suite (`tests/it/conformance.rs`) that both pass.
//!
//! Must not know: when a payment may change (`domain`), who asks (`app`).

use amends_primitives::{OrderId, PaymentId, Timestamp};
use async_trait::async_trait;

use crate::domain::{CustomerId, Payment, Record, Status, StepKey};
use amends_webhooks::event::Outgoing;

pub mod audit;
mod document;
pub mod former;
pub mod mongo;
pub mod sqlite;

/// Larger pages would make one answer exceed the 4 MiB gRPC frame: a payment with 100 refunds is kept in 32 KiB.
pub const PAGE_SIZE_MAX: u32 = 100;

/// Why a store call failed. Messages hold no amounts, names or keys.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time. A write cut short may or may not have happened.
    #[error("the payment store is unavailable")]
    Unavailable(#[source] Source),
    /// Others were in the way: worth trying again at once.
    #[error("a concurrent write was in the way")]
    Contended,
    /// The key of a refund, or of a capture or a void, is on record in another payment.
    #[error("the step key is on record in another payment")]
    StepKeyTaken,
    /// What is stored is not what this program writes.
    #[error("the stored {what} cannot be read")]
    Corrupt {
        /// The field.
        what: &'static str,
    },
    /// The store refuses this program: credentials, permissions, an option it does not know.
    #[error("the payment store refuses this service")]
    Misconfigured(#[source] Source),
    /// A mistake in this program: the store's own validation refused the document, or the statement is wrong.
    #[error("the payment store refused the write")]
    Bug(#[source] Source),
}

/// What a driver said.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Whether the same call may succeed later without a change.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended)
    }
}

/// What claiming a key found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The key had never been seen: the record is stored.
    First,
    /// The key was on record already; nothing was written.
    Taken(Box<Record>),
}

/// What a compare-and-set found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swapped {
    /// The payment was as expected and is now as asked.
    Done,
    /// It had changed: load it, decide again.
    Lost,
}

/// Which payments to list, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those after this one, in the order of the list.
    pub after: Option<PaymentId>,
    /// At the most this many; 1 to [`PAGE_SIZE_MAX`].
    pub limit: u32,
    /// Only this order's.
    pub order_id: Option<OrderId>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only in this state.
    pub status: Option<Status>,
    /// Only those first asked for at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only those first asked for before this time.
    pub created_before: Option<Timestamp>,
}

impl ListQuery {
    /// Whether it is about a span of time; the list is then in the order of times, and within one time of ids.
    pub const fn by_time(&self) -> bool {
        self.created_from.is_some() || self.created_before.is_some()
    }
}

/// One page, in the order of ids, or of times where a span of time is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The payments.
    pub payments: Vec<Payment>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// Keeps payments. Every call is bounded in time, and what it acknowledges survives the crash of the store's machine.
#[async_trait]
pub trait PaymentStore: Send + Sync + 'static {
    /// Brings tables, collections, indexes and validation up to date. Replicas may do so at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Stores `record` unless its key is on record. Of any number of concurrent claims of a key, one is first.
    async fn claim(&self, record: &Record) -> Result<Claimed, StoreError>;

    /// What is on record under a charge's key.
    async fn load(&self, key: &StepKey) -> Result<Option<Record>, StoreError>;

    /// The payment of that id; never a tombstone.
    async fn find(&self, id: PaymentId) -> Result<Option<Payment>, StoreError>;

    /// Replaces the payment with `next` if its version is `next.version - 1`. What never changes (the charge, the id, when it
    /// was created) is not written.
    ///
    /// # Errors
    /// [`StoreError::StepKeyTaken`] when `next` has a refund, or an ending of its hold, whose key another payment has for one.
    async fn swap(&self, next: &Payment) -> Result<Swapped, StoreError> {
        self.swap_with_event(next, None).await
    }

    /// As [`PaymentStore::swap`], and puts `event` into the outbox: both or neither, in one atomic write. Without an event it is
    /// the same write as ever.
    ///
    /// # Errors
    /// As [`PaymentStore::swap`].
    async fn swap_with_event(&self, next: &Payment, event: Option<&Outgoing>) -> Result<Swapped, StoreError>;

    /// Lists payments in the order of ids, or of times where a span of time is asked for. Each page costs what it holds, whatever
    /// is stored; with a span of time and another filter besides, what the span holds.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;

    /// Where the store is a file, the one at `url` that this was opened with: claims it until [`close`](Self::close), so that no other
    /// process serves it. Servers have any number of replicas, and nothing to claim.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] when another process has it, or it was copied without its `-wal`.
    async fn serve_alone(&self, _url: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether the store answers and can be written.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Lets go of connections.
    async fn close(&self);
}
