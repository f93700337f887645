//! Group commit: a task takes whatever entries and callers' work are waiting and puts them into one transaction. With nobody else
//! waiting an entry is written at once and alone.
//!
//! Invariant: whoever handed in a job is answered exactly once, after the commit. What a batch writes is `batch.rs`' business.

use std::{panic::AssertUnwindSafe, sync::Arc};

use amends_sql::{Database, Dialect, SqlError, Tx};
use futures::{FutureExt, future::BoxFuture};
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    ApplyLocal,
    batch::Batch,
    job::{Job, WorkOf, panicked},
};
use crate::journal::{Append, Appended, JournalError, NewRow};

/// More in one transaction would hold row locks, and PostgreSQL's cache of subtransactions, for longer than a customer likes.
const BATCH_MAX: usize = 64;
/// As many may wait; beyond that callers wait to be let in, within their own bounds.
const QUEUE_MAX: usize = 4096;

/// What the writer counts.
#[derive(Debug, Clone)]
pub struct WriterMetrics {
    /// Transactions committed.
    pub commits: Counter,
    /// Entries and callers' work in one transaction.
    pub batch: Histogram,
    /// How long a transaction took, from its begin to its end.
    pub seconds: Histogram,
}

impl Default for WriterMetrics {
    fn default() -> Self {
        Self {
            commits: Counter::default(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            // 0.25 ms to 8 s.
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
        }
    }
}

impl WriterMetrics {
    /// Registers all of them, as `saga_journal_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("saga_journal");
        registry.register("commits", "Transactions the journal's writer committed", self.commits.clone());
        registry.register("batch", "Entries and starts in one transaction", self.batch.clone());
        registry.register("commit_seconds", "How long such a transaction took", self.seconds.clone());
    }
}

/// Hands jobs to the tasks that write.
///
/// Where the database takes several writers, starts and callers' work have a task of their own beside the one for entries: a saga's end
/// then does not wait for others' beginnings. More tasks of one kind would not help: callers that wait for each other's locks (two
/// twins of one order) must meet in one transaction, or two transactions could wait for each other.
pub(super) struct Writer<L> {
    beginnings: mpsc::Sender<Job<L>>,
    entries: mpsc::Sender<Job<L>>,
}

impl<L: Send + Sync + 'static> Writer<L> {
    /// Starts the tasks in the current runtime. They end when the writer is dropped and their queues are empty.
    pub(super) fn spawn<A: ApplyLocal<Local = L>>(
        database: &Database,
        apply: &Arc<A>,
        metrics: &WriterMetrics,
    ) -> Self {
        let lane = || spawn_lane(database.clone(), Arc::clone(apply), metrics.clone());
        let entries = lane();
        let beginnings = match database.dialect() {
            Dialect::Sqlite => entries.clone(),
            Dialect::Postgres => lane(),
        };
        Self { beginnings, entries }
    }

    pub(super) async fn append(&self, entry: Arc<Append<L>>) -> Result<Appended, JournalError> {
        let (answer, answered) = oneshot::channel();
        if self.entries.send(Job::Append(entry, answer)).await.is_err() {
            return Err(stopped().into());
        }
        answered.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    pub(super) async fn start(&self, saga: NewRow) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        if self.beginnings.send(Job::Start(saga, answer)).await.is_err() {
            return Err(stopped().into());
        }
        answered.await.unwrap_or_else(|_| Err(stopped().into()))
    }

    pub(super) async fn work<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
        F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(WorkOf::new(work, answer));
        if self.beginnings.send(Job::Work(job)).await.is_err() {
            return Err(stopped().into());
        }
        answered.await.unwrap_or_else(|_| Err(stopped().into()))
    }
}

fn spawn_lane<A: ApplyLocal>(database: Database, apply: Arc<A>, metrics: WriterMetrics) -> mpsc::Sender<Job<A::Local>> {
    let (jobs, mut waiting) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let written = write(&database, &*apply, &metrics, std::mem::take(&mut batch)).await;
            if let Err(error) = written {
                // Whoever waits would find out the same, one batch after the other, long after its caller has gone.
                while let Ok(job) = waiting.try_recv() {
                    fail(job, &error);
                }
            }
        }
    });
    jobs
}

fn stopped() -> SqlError {
    SqlError::Unavailable(sqlx::Error::WorkerCrashed)
}

fn fail<L>(job: Job<L>, error: &Arc<SqlError>) {
    match job {
        Job::Work(job) => job.answer(Err(share(error))),
        Job::Start(_, answer) => {
            let _gone = answer.send(Err(share(error).into()));
        }
        Job::Append(_, answer) => {
            let _gone = answer.send(Err(share(error).into()));
        }
    }
}

/// Writes a batch and tells everyone in it. Fails when the database could not be reached at all.
async fn write<A: ApplyLocal>(
    database: &Database,
    apply: &A,
    metrics: &WriterMetrics,
    jobs: Vec<Job<A::Local>>,
) -> Result<(), Arc<SqlError>> {
    let mut batch = Batch::of(jobs);
    if batch.len() == 0 {
        return Ok(());
    }
    metrics.batch.observe(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    let begun = tokio::time::Instant::now();
    let attempt = AssertUnwindSafe(database.bounded(batch.write(database, apply))).catch_unwind().await;
    metrics.seconds.observe(begun.elapsed().as_secs_f64());
    match attempt.unwrap_or_else(|panic| Err(panicked(&*panic))) {
        Ok(written) => {
            if written.committed {
                metrics.commits.inc();
            }
            batch.answer(written);
            Ok(())
        }
        Err(error) => {
            let error = Arc::new(error);
            batch.into_jobs().for_each(|job| fail(job, &error));
            if matches!(*error, SqlError::Unavailable(_) | SqlError::TimedOut) { Err(error) } else { Ok(()) }
        }
    }
}

/// One failure told to many.
fn share(error: &Arc<SqlError>) -> SqlError {
    if error.is_unavailable() {
        SqlError::Unavailable(sqlx::Error::Io(std::io::Error::other(Arc::clone(error))))
    } else {
        SqlError::Bug(sqlx::Error::Protocol(format!("the shared transaction failed: {error}")))
    }
}
