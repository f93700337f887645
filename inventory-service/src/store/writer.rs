//! How changes are committed.
//!
//! PostgreSQL: every work in a transaction of its own, many at once; the server groups their commits. A transaction that loses
//! against another (serialization failure, deadlock) is run again, a bounded number of times.
//!
//! SQLite has one writer, and each commit waits for the disk. So works queue for one task, which puts what has queued up
//! meanwhile into one transaction: a lone work waits for nobody, and under load one flush serves up to [`GROUP_MAX`] of them.

use std::time::Duration;

use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use rand::Rng;
use tokio::sync::{mpsc, oneshot};

use super::Work;
use crate::ports::StoreError;

/// A larger group would make its first member wait noticeably for the statements of the last.
const GROUP_MAX: usize = 64;

/// Callers beyond this wait to get in line, within the bound of their store call.
const QUEUE_MAX: usize = 1024;

/// With locks taken in one order, a second collision is rare and a fifth a sign of something else.
const ATTEMPTS_MAX: u32 = 5;

#[derive(Debug, Clone)]
pub(super) enum Writer {
    /// Each work by itself.
    Concurrent,
    /// One task writes for all.
    Grouped(mpsc::Sender<Box<dyn Job>>),
}

impl Writer {
    pub(super) fn new(database: &Database) -> Self {
        match database.dialect() {
            Dialect::Postgres => Self::Concurrent,
            Dialect::Sqlite => {
                let (sender, receiver) = mpsc::channel(QUEUE_MAX);
                // Ends when the last store that holds the sender is dropped.
                tokio::spawn(write_groups(database.clone(), receiver));
                Self::Grouped(sender)
            }
        }
    }

    pub(super) async fn run<W: Work>(&self, database: &Database, work: W) -> Result<W::Output, StoreError> {
        match self {
            Self::Concurrent => Ok(again_when_contended(|| alone(database, &work)).await?),
            Self::Grouped(sender) => {
                let (reply, answer) = oneshot::channel();
                let pending = Pending { work, output: None, reply };
                let queued = async {
                    let gone = || StoreError::from(SqlError::Unavailable(sqlx::Error::WorkerCrashed));
                    sender.send(Box::new(pending)).await.map_err(|_| gone())?;
                    answer.await.map_err(|_| gone())?
                };
                database.bounded(queued).await
            }
        }
    }
}

async fn alone<W: Work>(database: &Database, work: &W) -> Result<W::Output, SqlError> {
    database
        .bounded(async {
            let mut tx = database.begin().await?;
            let output = work.run_in_tx(&mut tx, database.dialect()).await?;
            tx.commit().await?;
            Ok(output)
        })
        .await
}

/// A transaction that lost was rolled back for sure, so it may start over.
async fn again_when_contended<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, SqlError>
where
    F: Future<Output = Result<T, SqlError>>,
{
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(SqlError::Contended(error)) if attempts < ATTEMPTS_MAX => {
                tracing::debug!(attempts, %error, "a concurrent transaction won: starting over");
                let pause_ms = rand::rng().random_range(1..=5 << attempts);
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                attempts += 1;
            }
            done => return done,
        }
    }
}

/// A queued work, whatever its output.
#[async_trait]
pub(super) trait Job: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    async fn run_in_tx(&mut self, tx: &mut Tx, dialect: Dialect) -> Result<(), SqlError>;
    /// Tells the caller how the transaction ended.
    fn settle(self: Box<Self>, ended: Result<(), StoreError>);
}

struct Pending<W: Work> {
    work: W,
    output: Option<W::Output>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

#[async_trait]
impl<W: Work> Job for Pending<W> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    async fn run_in_tx(&mut self, tx: &mut Tx, dialect: Dialect) -> Result<(), SqlError> {
        self.output = Some(self.work.run_in_tx(tx, dialect).await?);
        Ok(())
    }

    fn settle(mut self: Box<Self>, ended: Result<(), StoreError>) {
        let answer = match (ended, self.output.take()) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(output)) => Ok(output),
            (Ok(()), None) => {
                Err(SqlError::Unexpected { what: "a work of a group that was committed has no outcome" }.into())
            }
        };
        // The caller may have left; the work is done all the same, and its step key remembers.
        let _ = self.reply.send(answer);
    }
}

async fn write_groups(database: Database, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(GROUP_MAX);
    while jobs.recv_many(&mut group, GROUP_MAX).await > 0 {
        group.retain(|job| !job.is_abandoned());
        match write_group(&database, &mut group).await {
            Ok(()) => group.drain(..).for_each(|job| job.settle(Ok(()))),
            // One work spoilt the transaction for all: each by itself, so that only the culprit hears of it.
            Err(error) if group.len() > 1 && !error.is_transient() => {
                tracing::warn!(%error, works = group.len(), "a group could not be written: one by one");
                for job in group.drain(..) {
                    let mut one = vec![job];
                    let ended = write_group(&database, &mut one).await.map_err(StoreError::from);
                    for job in one {
                        job.settle(ended.clone());
                    }
                }
            }
            Err(error) => {
                let error = StoreError::from(error);
                group.drain(..).for_each(|job| job.settle(Err(error.clone())));
            }
        }
    }
}

async fn write_group(database: &Database, group: &mut [Box<dyn Job>]) -> Result<(), SqlError> {
    if group.is_empty() {
        return Ok(());
    }
    database
        .bounded(async {
            let mut tx = database.begin().await?;
            for job in group {
                job.run_in_tx(&mut tx, database.dialect()).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
}
