//! Group commit: writes that wait for each other anyway share one transaction, and so one sync of the disk. With nothing else waiting,
//! a write is committed at once and alone.
//!
//! Invariant: each caller is answered exactly once, and told of a success only after the commit.
//!
//! One policy for failures, whatever is written (see `docs/adr/0018-one-group-commit.md`):
//! - a write that the database refuses fails alone: the batch is begun anew, each write under a savepoint of its own;
//! - a database that cannot be reached, or is too slow, fails the whole batch and all that has queued up behind it, which would
//!   otherwise find out the same one batch after the other, long after their callers have gone;
//! - a panic is a refused write.
//!
//! Must not know: what the writes mean.

mod job;
mod savepoints;
#[cfg(test)]
mod tests;
mod write;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{Database, Dialect, SqlError, Tx, health::Health, sqlite::spawn_writer};

pub use job::{Asked, Job, Reply};
pub use savepoints::Savepoints;
pub use write::guarded;

/// More in one transaction would hold row locks, and PostgreSQL's cache of subtransactions, for longer than a customer likes.
pub const BATCH_MAX: usize = 64;
/// As many may wait; beyond that callers wait to be let in, within their own bounds.
const QUEUE_MAX: usize = 1024;

/// How one kind of store writes its jobs.
pub trait BatchWriter: Send + Sync + 'static {
    /// What is written.
    type Job: Job;

    /// Writes one job, and keeps its outcome in it. True if what it wrote is to be committed; otherwise it is undone. It may be called
    /// again for the same job when a transaction has to be repeated, never after one has committed.
    ///
    /// # Errors
    /// When the database fails. What waiting mends fails the batch; anything else fails this job alone.
    fn one(&self, tx: &mut Tx, job: &mut Self::Job) -> impl Future<Output = Result<bool, SqlError>> + Send;

    /// Writes all of them, two or more. True if there is anything to commit; none if one of them has to be undone, and all are to be
    /// written again, one by one.
    ///
    /// # Errors
    /// As [`one`](Self::one), but anything that waiting does not mend counts as none.
    fn together(
        &self,
        tx: &mut Tx,
        jobs: &mut [Self::Job],
    ) -> impl Future<Output = Result<Option<bool>, SqlError>> + Send {
        async {
            for job in jobs {
                if !self.one(tx, job).await? {
                    return Ok(None);
                }
            }
            Ok(Some(true))
        }
    }

    /// Writes all of them by one statement, which is a transaction of its own and saves two round trips; none if that cannot be.
    ///
    /// # Errors
    /// As [`together`](Self::together).
    fn by_one_statement(
        &self,
        _database: &Database,
        _jobs: &mut [Self::Job],
    ) -> impl Future<Output = Result<Option<bool>, SqlError>> + Send {
        async { Ok(None) }
    }

    /// Puts a batch's jobs into the order in which they are written. Where the database takes several writers, jobs that lock the same rows
    /// must come in one order in all of them, or two batches could wait for each other.
    fn arrange(&self, _jobs: &mut [Self::Job]) {}

    /// Hears of each batch, once it has ended.
    fn observe(&self, _batch: &Batch) {}
}

/// A batch that was written, or could not be.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// How many jobs it held.
    pub jobs: usize,
    /// Whether a transaction was committed.
    pub committed: bool,
    /// From its begin to its end.
    pub took: Duration,
}

/// Hands jobs to the task that writes. The task ends with the last clone, when its queue is empty.
pub struct GroupCommit<J> {
    queue: mpsc::Sender<J>,
    /// For a disk that hangs, and with it the thread that writes, which then cannot bound its own batches.
    bound: Duration,
    health: Arc<Health>,
}

impl<J> std::fmt::Debug for GroupCommit<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GroupCommit")
    }
}

impl<J> Clone for GroupCommit<J> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bound: self.bound, health: Arc::clone(&self.health) }
    }
}

impl<J: Job> GroupCommit<J> {
    /// Starts the task in the current runtime.
    pub fn start<W: BatchWriter<Job = J>>(database: Database, writer: W) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        // The batch that is being written, and the caller's own.
        let (bound, health) = (database.bound() * 2, Arc::clone(&database.health));
        match database.dialect() {
            Dialect::Postgres => drop(tokio::spawn(run(database, writer, waiting))),
            // Whose statements wait for the disk: a batch is one job on a thread that may.
            Dialect::Sqlite => spawn_writer(run(database, writer, waiting)),
        }
        Self { queue, bound, health }
    }

    /// How many jobs wait for their batch.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Queues a job, and waits until it is committed or has failed. Unless the caller bounds it, the wait ends when the batch's own
    /// bound does, or after twice that where the disk hangs. Given up, the job may or may not be written.
    ///
    /// # Errors
    /// The job's own, or the database's.
    pub async fn submit<T, E: From<SqlError>>(&self, job: impl FnOnce(Reply<T, E>) -> J) -> Result<T, E> {
        let answered = async {
            let (answer, answered) = oneshot::channel();
            if self.queue.send(job(Reply::new(answer))).await.is_err() {
                return Err(stopped().into());
            }
            answered.await.unwrap_or_else(|_| Err(stopped().into()))
        };
        let bounded = self.health.target.batch(tokio::time::timeout(self.bound, answered)).await;
        bounded.unwrap_or_else(|_elapsed| Err(SqlError::TimedOut.into()))
    }
}

/// The task has ended, which happens only with its runtime.
fn stopped() -> SqlError {
    SqlError::Unavailable(sqlx::Error::WorkerCrashed)
}

async fn run<W: BatchWriter>(database: Database, writer: W, mut waiting: mpsc::Receiver<W::Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        // Under load this is work saved, and nothing of it has been promised: the caller repeats it under the same key.
        jobs.retain(|job: &W::Job| !job.is_abandoned());
        if jobs.is_empty() {
            continue;
        }
        if let Err(error) = write::batch(&database, &writer, &mut jobs).await {
            if matches!(error, SqlError::Unavailable(_) | SqlError::TimedOut) {
                // Before any caller hears of it, who may by then see the database mended, and ask again.
                jobs.extend(std::iter::from_fn(|| waiting.try_recv().ok()));
            }
            let error = Arc::new(error);
            jobs.drain(..).for_each(|job| job.settle(Err(share(&error))));
        }
    }
}

/// One failure told to many, in its class.
fn share(error: &Arc<SqlError>) -> SqlError {
    let shared = sqlx::Error::Io(std::io::Error::other(Arc::clone(error)));
    match **error {
        SqlError::Contended(_) => SqlError::Contended(shared),
        SqlError::Damaged(_) => SqlError::Damaged(shared),
        ref error if error.is_unavailable() => SqlError::Unavailable(shared),
        _ => SqlError::Bug(shared),
    }
}
