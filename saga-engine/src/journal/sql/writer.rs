//! Group commit: one task takes whatever entries and callers' work are waiting and puts them into one transaction. With nobody else
//! waiting an entry is written at once and alone.
//!
//! One failure in a batch must not fail the others: callers' work runs under a savepoint each; entries share one, and only if one of
//! their changes fails or is refused are they written again under one each.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use amends_sql::{Database, SqlError, Tx};
use futures::{FutureExt, future::BoxFuture};
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::sync::{mpsc, oneshot};

use super::{ApplyLocal, append};
use crate::journal::{Append, Appended, JournalError};

/// More in one transaction would hold row locks, and PostgreSQL's cache of subtransactions, for longer than a customer likes.
const BATCH_MAX: usize = 64;
/// As many may wait; beyond that callers wait to be let in, within their own bounds.
const QUEUE_MAX: usize = 4096;

pub(super) enum Job<L> {
    Append(Arc<Append<L>>, oneshot::Sender<Result<Appended, JournalError>>),
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

struct WorkOf<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
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

/// Hands jobs to the task that writes.
pub(super) struct Writer<L> {
    jobs: mpsc::Sender<Job<L>>,
}

impl<L: Send + Sync + 'static> Writer<L> {
    /// Starts the task in the current runtime. It ends when the writer is dropped and the queue is empty.
    pub(super) fn spawn<A: ApplyLocal<Local = L>>(database: Database, apply: Arc<A>, metrics: WriterMetrics) -> Self {
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
        Self { jobs }
    }

    pub(super) async fn append(&self, entry: Arc<Append<L>>) -> Result<Appended, JournalError> {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Append(entry, answer)).await.is_err() {
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
        let job = Box::new(WorkOf { work: Some(work), result: None, answer });
        if self.jobs.send(Job::Work(job)).await.is_err() {
            return Err(stopped().into());
        }
        answered.await.unwrap_or_else(|_| Err(stopped().into()))
    }
}

fn stopped() -> SqlError {
    SqlError::Unavailable(sqlx::Error::WorkerCrashed)
}

fn panicked(panic: &(dyn Any + Send)) -> SqlError {
    let message =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    SqlError::Bug(sqlx::Error::Protocol(format!("a change panicked: {}", message.unwrap_or_default())))
}

type Entry<L> = (Arc<Append<L>>, oneshot::Sender<Result<Appended, JournalError>>);

fn fail<L>(job: Job<L>, error: &Arc<SqlError>) {
    match job {
        Job::Work(job) => job.answer(Err(share(error))),
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
    let mut work: Vec<Box<dyn Work>> = Vec::new();
    let mut entries: Vec<Entry<A::Local>> = Vec::new();
    for job in jobs {
        match job {
            // Nobody waits for it any more: under load that is work saved, and nothing of it has been promised.
            Job::Work(job) if job.is_wanted() => work.push(job),
            Job::Work(_) => {}
            Job::Append(entry, answer) => entries.push((entry, answer)),
        }
    }
    if work.is_empty() && entries.is_empty() {
        return Ok(());
    }
    metrics.batch.observe(f64::from(u32::try_from(work.len() + entries.len()).unwrap_or(u32::MAX)));
    let begun = tokio::time::Instant::now();
    let appends: Vec<_> = entries.iter().map(|(entry, _)| Arc::clone(entry)).collect();
    let attempt =
        AssertUnwindSafe(database.bounded(transaction(database, apply, &mut work, &appends))).catch_unwind().await;
    metrics.seconds.observe(begun.elapsed().as_secs_f64());
    match attempt.unwrap_or_else(|panic| Err(panicked(&*panic))) {
        Ok((committed, verdicts)) => {
            if committed {
                metrics.commits.inc();
            }
            for job in work {
                job.answer(Ok(()));
            }
            for ((_, answer), verdict) in entries.into_iter().zip(verdicts) {
                let _gone = answer.send(verdict);
            }
            Ok(())
        }
        Err(error) => {
            let error = Arc::new(error);
            for job in work {
                fail(Job::<A::Local>::Work(job), &error);
            }
            for (entry, answer) in entries {
                fail(Job::Append(entry, answer), &error);
            }
            if matches!(*error, SqlError::Unavailable(_) | SqlError::TimedOut) { Err(error) } else { Ok(()) }
        }
    }
}

async fn transaction<A: ApplyLocal>(
    database: &Database,
    apply: &A,
    work: &mut [Box<dyn Work>],
    entries: &[Arc<Append<A::Local>>],
) -> Result<(bool, Vec<Result<Appended, JournalError>>), SqlError> {
    let mut tx = database.begin().await?;
    let alone = work.len() + entries.len() == 1;
    let mut kept = false;
    for job in work.iter_mut() {
        if alone {
            // Its failure rolls everything back, which is only it.
            if !job.run(&mut tx).await {
                let _closed = tx.rollback().await;
                return Ok((false, Vec::new()));
            }
            kept = true;
            continue;
        }
        savepoint(&mut tx).await?;
        if job.run(&mut tx).await {
            release(&mut tx).await?;
            kept = true;
        } else {
            roll_back(&mut tx).await?;
        }
    }

    let dialect = database.dialect();
    let verdicts = match entries {
        [] => Vec::new(),
        [entry] if alone => {
            let verdict = append::one(&mut tx, apply, entry).await?;
            if matches!(verdict, Ok(Appended::LocalRefused(_)) | Err(_)) {
                let _closed = tx.rollback().await;
                return Ok((false, vec![verdict]));
            }
            kept = true;
            vec![verdict]
        }
        _ => {
            kept = true;
            let with_changes = entries.iter().any(|entry| entry.local.is_some());
            if with_changes {
                savepoint(&mut tx).await?;
            }
            match append::all(&mut tx, dialect, apply, entries, append::Care::Together).await? {
                append::All::Written(verdicts) => {
                    if with_changes {
                        release(&mut tx).await?;
                    }
                    verdicts
                }
                append::All::OneByOne => {
                    roll_back(&mut tx).await?;
                    match append::all(&mut tx, dialect, apply, entries, append::Care::OneByOne).await? {
                        append::All::Written(verdicts) => verdicts,
                        append::All::OneByOne => {
                            return Err(SqlError::Bug(sqlx::Error::Protocol("one by one twice".into())));
                        }
                    }
                }
            }
        }
    };
    if kept {
        tx.commit().await.map_err(SqlError::from)?;
    }
    Ok((kept, verdicts))
}

pub(super) async fn savepoint(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "SAVEPOINT one").await
}

pub(super) async fn release(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "RELEASE SAVEPOINT one").await
}

/// Undoes what came after the savepoint, and forgets it.
pub(super) async fn roll_back(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "ROLLBACK TO SAVEPOINT one").await?;
    release(tx).await
}

async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), SqlError> {
    sqlx::query(sql).execute(&mut **tx).await.map_err(SqlError::from)?;
    Ok(())
}

/// One failure told to many.
fn share(error: &Arc<SqlError>) -> SqlError {
    if error.is_transient() {
        SqlError::Unavailable(sqlx::Error::Io(std::io::Error::other(Arc::clone(error))))
    } else {
        SqlError::Bug(sqlx::Error::Protocol(format!("the shared transaction failed: {error}")))
    }
}
