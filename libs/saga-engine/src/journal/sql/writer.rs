//! How the journal writes: entries, starts and callers' work that wait at the same time go into one transaction. Entries and starts are
//! written together, by a few statements; callers' work runs under a savepoint each.
//!
//! Must not know: how a batch is made, and what becomes of it when it fails (`amends_sql::group`).

use std::sync::Arc;

use amends_sql::{
    Database, Dialect, SqlError, Tx,
    group::{Asked, Batch, BatchWriter, GroupCommit, Savepoints},
};
use futures::future::BoxFuture;
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{
    ApplyLocal, append,
    job::{Job, WorkOf},
    start,
};
use crate::journal::{Append, Appended, JournalError, NewRow};

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
    beginnings: GroupCommit<Job<L>>,
    entries: GroupCommit<Job<L>>,
}

impl<L: Send + Sync + 'static> Writer<L> {
    /// Starts the tasks in the current runtime. They end when the writer is dropped and their queues are empty.
    pub(super) fn spawn<A: ApplyLocal<Local = L>>(
        database: &Database,
        apply: &Arc<A>,
        metrics: &WriterMetrics,
    ) -> Self {
        let dialect = database.dialect();
        let start = || {
            let writer = JournalWriter { dialect, apply: Arc::clone(apply), metrics: metrics.clone() };
            GroupCommit::start(database.clone(), writer)
        };
        let entries = start();
        let beginnings = match dialect {
            Dialect::Sqlite => entries.clone(),
            Dialect::Postgres => start(),
        };
        Self { beginnings, entries }
    }

    pub(super) async fn append(&self, entry: Arc<Append<L>>) -> Result<Appended, JournalError> {
        self.entries.submit(|reply| Job::Append(Asked::new(entry, reply))).await
    }

    pub(super) async fn start(&self, saga: NewRow) -> Result<(), JournalError> {
        self.beginnings.submit(|reply| Job::Start(Asked::new(saga, reply))).await
    }

    pub(super) async fn work<T, E, F>(&self, lock: String, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
        F: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, E>> + Send + 'static,
    {
        self.beginnings.submit(|reply| Job::Work(Box::new(WorkOf::new(lock, work, reply)))).await
    }
}

struct JournalWriter<A> {
    dialect: Dialect,
    apply: Arc<A>,
    metrics: WriterMetrics,
}

impl<A: ApplyLocal> BatchWriter for JournalWriter<A> {
    type Job = Job<A::Local>;

    async fn one(&self, tx: &mut Tx, job: &mut Job<A::Local>) -> Result<bool, SqlError> {
        match job {
            Job::Append(entry) => {
                let verdict = append::one(tx, self.dialect, &*self.apply, &entry.what).await?;
                let keep = !matches!(verdict, Ok(Appended::LocalRefused(_)) | Err(_));
                entry.reply.keep(verdict);
                Ok(keep)
            }
            Job::Start(saga) => {
                let started = start::one(tx, &saga.what).await?;
                let keep = started.is_ok();
                saga.reply.keep(started);
                Ok(keep)
            }
            Job::Work(work) => Ok(work.run(tx).await),
        }
    }

    async fn together(&self, tx: &mut Tx, jobs: &mut [Job<A::Local>]) -> Result<Option<bool>, SqlError> {
        let entries: Vec<_> = jobs.iter().filter_map(Job::entry).collect();
        let verdicts = match &entries[..] {
            [] => Some(Vec::new()),
            entries => append::together(tx, self.dialect, &*self.apply, entries).await?,
        };
        let Some(verdicts) = verdicts else { return Ok(None) };
        let starts: Vec<_> = jobs.iter().filter_map(Job::saga).collect();
        let started = if starts.is_empty() { Vec::new() } else { start::all(tx, &starts).await? };
        let any = !verdicts.is_empty() || !started.is_empty();
        keep_outcomes(jobs, verdicts, started);
        // Work can be run only once, so it comes last: what came before it can be done again.
        Ok(Some(run_work(tx, jobs).await? || any))
    }

    /// Of sagas that start, and nothing else.
    async fn by_one_statement(
        &self,
        database: &Database,
        jobs: &mut [Job<A::Local>],
    ) -> Result<Option<bool>, SqlError> {
        let starts: Vec<_> = jobs.iter().filter_map(Job::saga).collect();
        if starts.len() < jobs.len() {
            return Ok(None);
        }
        let mut connection = database.writer().acquire().await?;
        let started = start::all(&mut connection, &starts).await?;
        let any = started.iter().any(Result::is_ok);
        keep_outcomes(jobs, Vec::new(), started);
        Ok(Some(any))
    }

    fn arrange(&self, jobs: &mut [Job<A::Local>]) {
        jobs.sort_by(|one, other| one.lock().cmp(other.lock()));
    }

    fn observe(&self, batch: &Batch) {
        self.metrics.batch.observe(f64::from(u32::try_from(batch.jobs).unwrap_or(u32::MAX)));
        self.metrics.seconds.observe(batch.took.as_secs_f64());
        if batch.committed {
            self.metrics.commits.inc();
        }
    }
}

/// Each in the order of its kind.
fn keep_outcomes<L>(jobs: &mut [Job<L>], verdicts: Vec<append::Verdict>, started: Vec<start::Started>) {
    let (mut verdicts, mut started) = (verdicts.into_iter(), started.into_iter());
    for job in jobs {
        match job {
            Job::Append(entry) => verdicts.next().into_iter().for_each(|verdict| entry.reply.keep(verdict)),
            Job::Start(saga) => started.next().into_iter().for_each(|started| saga.reply.keep(started)),
            Job::Work(_) => {}
        }
    }
}

/// Each under a savepoint of its own; true if anything is to be kept.
async fn run_work<L>(tx: &mut Tx, jobs: &mut [Job<L>]) -> Result<bool, SqlError> {
    let (mut savepoints, mut any) = (Savepoints::default(), false);
    for job in jobs {
        let Job::Work(work) = job else { continue };
        savepoints.set(tx).await?;
        let keep = work.run(tx).await;
        savepoints.keep(tx, keep).await?;
        any |= keep;
    }
    savepoints.end(tx).await?;
    Ok(any)
}
