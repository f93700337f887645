//! What is queued, each job with the caller who waits for its outcome.

use tokio::sync::oneshot;

use crate::SqlError;

/// A queued write.
pub trait Job: Send + 'static {
    /// Whether its caller has gone, and it need not be written.
    fn is_abandoned(&self) -> bool;

    /// Tells the caller how the transaction ended.
    fn settle(self, ended: Result<(), SqlError>);
}

/// The caller of a job, and the job's outcome, which is kept until the transaction has ended.
#[derive(Debug)]
pub struct Reply<T, E> {
    outcome: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<T, E: From<SqlError>> Reply<T, E> {
    pub(super) const fn new(caller: oneshot::Sender<Result<T, E>>) -> Self {
        Self { outcome: None, caller }
    }

    /// Whether the caller has gone.
    pub fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    /// Keeps what came of the job, instead of what came of it in an earlier transaction.
    pub fn keep(&mut self, outcome: Result<T, E>) {
        self.outcome = Some(outcome);
    }

    /// Tells the caller the outcome, or how the transaction failed: what a job found in a transaction that was not committed need not be
    /// true, neither its success nor its refusal.
    pub fn settle(self, ended: Result<(), SqlError>) {
        const MISSING: SqlError = SqlError::Unexpected { what: "a job of a committed batch has no outcome" };
        let outcome = match ended {
            Ok(()) => self.outcome.unwrap_or_else(|| Err(MISSING.into())),
            Err(error) => Err(error.into()),
        };
        // A caller whose bound has passed does not listen any more; the job is done all the same.
        let _ = self.caller.send(outcome);
    }
}

/// What a caller asks to be written, and the caller.
#[derive(Debug)]
pub struct Asked<W, T, E> {
    /// What to write.
    pub what: W,
    /// For whom.
    pub reply: Reply<T, E>,
}

impl<W, T, E> Asked<W, T, E> {
    /// A job for [`GroupCommit::submit`](super::GroupCommit::submit).
    pub const fn new(what: W, reply: Reply<T, E>) -> Self {
        Self { what, reply }
    }
}

impl<W, T, E> Job for Asked<W, T, E>
where
    W: Send + 'static,
    T: Send + 'static,
    E: From<SqlError> + Send + 'static,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn settle(self, ended: Result<(), SqlError>) {
        self.reply.settle(ended);
    }
}
