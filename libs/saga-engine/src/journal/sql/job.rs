//! What the writer is handed, each with the caller who waits for its answer.

use std::sync::Arc;

use amends_sql::{
    SqlError, Tx,
    group::{self, Asked, Reply},
};
use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::journal::{Append, Appended, JournalError, NewRow};

pub(super) enum Job<L> {
    Append(Asked<Arc<Append<L>>, Appended, JournalError>),
    Start(Asked<NewRow, (), JournalError>),
    Work(Box<dyn Work>),
}

impl<L> Job<L> {
    pub(super) const fn entry(&self) -> Option<&Arc<Append<L>>> {
        if let Self::Append(entry) = self { Some(&entry.what) } else { None }
    }

    /// What it locks first, among other callers' work.
    pub(super) fn lock(&self) -> &str {
        if let Self::Work(work) = self { work.lock() } else { "" }
    }

    pub(super) const fn saga(&self) -> Option<&NewRow> {
        if let Self::Start(start) = self { Some(&start.what) } else { None }
    }
}

impl<L: Send + Sync + 'static> group::Job for Job<L> {
    fn is_abandoned(&self) -> bool {
        match self {
            // The saga has moved on by its entry.
            Self::Append(_) => false,
            Self::Start(start) => start.is_abandoned(),
            Self::Work(work) => work.is_abandoned(),
        }
    }

    fn settle(self, ended: Result<(), SqlError>) {
        match self {
            Self::Append(entry) => entry.settle(ended),
            Self::Start(start) => start.settle(ended),
            Self::Work(work) => work.settle(ended),
        }
    }
}

/// A caller's work, whatever its result.
#[async_trait]
pub(super) trait Work: Send {
    /// What it locks first.
    fn lock(&self) -> &str;
    fn is_abandoned(&self) -> bool;
    /// Runs it; true if what it wrote is to be kept.
    async fn run(&mut self, tx: &mut Tx) -> bool;
    fn settle(self: Box<Self>, ended: Result<(), SqlError>);
}

/// It can be run only once.
pub(super) struct WorkOf<F, T, E> {
    lock: String,
    work: Option<F>,
    reply: Reply<T, E>,
}

impl<F, T, E> WorkOf<F, T, E> {
    pub(super) const fn new(lock: String, work: F, reply: Reply<T, E>) -> Self {
        Self { lock, work: Some(work), reply }
    }
}

#[async_trait]
impl<F, T, E> Work for WorkOf<F, T, E>
where
    F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send,
    T: Send,
    E: From<SqlError> + Send,
{
    fn lock(&self) -> &str {
        &self.lock
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    async fn run(&mut self, tx: &mut Tx) -> bool {
        const RAN: SqlError = SqlError::Unexpected { what: "work was undone with its batch, and cannot run again" };
        let outcome = match self.work.take() {
            Some(work) => group::guarded(async { work(tx).await }).await,
            None => Err(RAN.into()),
        };
        let keep = outcome.is_ok();
        self.reply.keep(outcome);
        keep
    }

    fn settle(self: Box<Self>, ended: Result<(), SqlError>) {
        self.reply.settle(ended);
    }
}
