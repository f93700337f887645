//! Use cases, one verb a file. Each is a loop of *decide* (pure, in `domain`), then one effect: a write to the store or a question
//! to the processor. Whatever stops between two effects, a repeat with the same key goes on from what is on record.
//!
//! Must not know: gRPC, MongoDB, SQL, which processor it is.

mod ask;
mod charge;
mod compensate;
mod end;
mod get;
mod list;
mod refund;
mod settle;

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock, IdSource, PaymentId};

use crate::events::event_to_store;
use crate::{
    domain::{Event, IllegalTransition, Payment, Record, Rejection, StepKey, evolve},
    metrics::Attempts,
    processor::{PaymentProcessor, Unknown},
    store::{PaymentStore, StoreError, Swapped},
};
use amends_webhooks::outbox::Outbox;

pub use compensate::Undone;

/// Rounds of decide-and-swap before telling the caller to come back. Only calls for one and the same payment compete, and each
/// round one of them succeeds; a payment has at most a few dozen moves in its life.
const ROUNDS_MAX: u32 = 64;

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused: surely without effect.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The outcome is in doubt; a repeat with the same key finds out.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why the outcome is in doubt.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The processor did not say.
    #[error("{}", .0.sentence())]
    Processor(Unknown),
    /// The processor refuses to give back what a compensation must give back. A person must look.
    #[error("the payment processor refuses the refund that compensates this charge")]
    UndoRefused,
    /// The rules forbid what the processor says has happened. A person must look.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<IllegalTransition> for Error {
    fn from(error: IllegalTransition) -> Self {
        Self::Failed(error.into())
    }
}

/// What the use cases need. Clones share it.
#[derive(Clone)]
pub struct Payments {
    /// Keeps payments.
    pub store: Arc<dyn PaymentStore>,
    /// Moves money.
    pub processor: Arc<dyn PaymentProcessor>,
    /// How long the processor may take to answer one question; then the outcome is in doubt.
    pub processor_timeout: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Counts questions to the processor.
    pub attempts: Attempts,
    /// Where events are put that others are told of.
    pub outbox: Outbox,
}

impl Payments {
    fn new_id(&self) -> PaymentId {
        PaymentId::new(self.ids.next_id())
    }

    /// What is on record under `key` now. Between a claim and this, another write may be on its way through a majority.
    async fn reload(&self, key: &StepKey) -> Result<Record, StoreError> {
        self.store.load(key).await?.ok_or(StoreError::Contended)
    }

    /// Applies `event` to what was read as `payment`, and returns what is on record afterwards: the outcome, or, where another
    /// call moved it first, what that call made of it. Either way the caller decides again.
    async fn record(&self, payment: &Payment, event: &Event) -> Result<Record, Failure> {
        let next = evolve(payment, event, self.clock.now())?;
        let told = event_to_store(&self.outbox, event, &next);
        match self.store.swap_with_event(&next, told.as_ref()).await? {
            Swapped::Done => {
                if told.is_some() {
                    self.outbox.notify();
                }
                Ok(Record::Payment(next))
            }
            Swapped::Lost => Ok(self.reload(&payment.charge.key).await?),
        }
    }
}
