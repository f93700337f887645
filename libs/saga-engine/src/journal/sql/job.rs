//! What the writer is handed, each with the caller who waits for its answer.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use amends_sql::{SqlError, Tx};
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use crate::journal::{Append, Appended, JournalError, NewRow};

pub(super) enum Job<L> {
    Append(Arc<Append<L>>, oneshot::Sender<Result<Appended, JournalError>>),
    Start(NewRow, oneshot::Sender<Result<(), JournalError>>),
    Work(Box<dyn Work>),
}

/// A caller's work, its result kept until the commit.
pub(super) trait Work: Send {
    /// Whether the caller is still there.
    fn is_wanted(&self) -> bool;
    /// Runs it; true if what it wrote is to be kept.
    fn run<'tx>(&'tx mut self, tx: &'tx mut Tx) -> BoxFuture<'tx, bool>;
    fn answer(self: Box<Self>, committed: Result<(), SqlError>);
}

pub(super) struct WorkOf<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> WorkOf<F, T, E> {
    pub(super) const fn new(work: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work: Some(work), result: None, answer }
    }
}

impl<F, T, E> Work for WorkOf<F, T, E>
where
    F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send,
    T: Send,
    E: From<SqlError> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run<'tx>(&'tx mut self, tx: &'tx mut Tx) -> BoxFuture<'tx, bool> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let ran = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
            let result = ran.unwrap_or_else(|panic| Err(panicked(&*panic).into()));
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), SqlError>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(done)), Ok(())) => Ok(done),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => return,
        };
        let _gone = self.answer.send(result);
    }
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> SqlError {
    let message =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    SqlError::Bug(sqlx::Error::Protocol(format!("a change panicked: {}", message.unwrap_or_default())))
}
