//! How changes are committed.
//!
//! PostgreSQL: every work in a transaction of its own, many at once; the server groups their commits. A transaction that loses
//! against another (serialization failure, deadlock) is run again, a bounded number of times.
//!
//! SQLite has one writer, and each commit waits for the disk: works that wait at the same time share one (`amends_sql::group`).

use std::time::Duration;

use amends_sql::{
    Database, Dialect, SqlError, Tx,
    group::{Asked, BatchWriter, GroupCommit, Job},
};
use async_trait::async_trait;
use rand::Rng;

use super::Work;
use crate::ports::StoreError;

/// With locks taken in one order, a second collision is rare and a fifth a sign of something else.
const ATTEMPTS_MAX: u32 = 5;

#[derive(Debug, Clone)]
pub(super) enum Writer {
    /// Each work by itself.
    Concurrent,
    /// One task writes all.
    Grouped(GroupCommit<Box<dyn Queued>>),
}

impl Writer {
    pub(super) fn new(database: &Database) -> Self {
        match database.dialect() {
            Dialect::Postgres => Self::Concurrent,
            // Ends with the last store that holds it.
            Dialect::Sqlite => Self::Grouped(GroupCommit::start(database.clone(), Works)),
        }
    }

    pub(super) async fn run<W: Work>(&self, database: &Database, work: W) -> Result<W::Output, StoreError> {
        match self {
            Self::Concurrent => Ok(again_when_contended(|| alone(database, &work)).await?),
            Self::Grouped(group) => {
                database.bounded(group.submit(|reply| Box::new(Asked::new(work, reply)) as Box<dyn Queued>)).await
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

/// A work and its caller, whatever its output.
#[async_trait]
pub(super) trait Queued: Send {
    async fn run(&mut self, tx: &mut Tx) -> Result<(), SqlError>;
    fn is_abandoned(&self) -> bool;
    fn settle(self: Box<Self>, ended: Result<(), SqlError>);
}

#[async_trait]
impl<W: Work> Queued for Asked<W, W::Output, StoreError> {
    async fn run(&mut self, tx: &mut Tx) -> Result<(), SqlError> {
        self.reply.keep(Ok(self.what.run_in_tx(tx, Dialect::Sqlite).await?));
        Ok(())
    }

    fn is_abandoned(&self) -> bool {
        Job::is_abandoned(self)
    }

    fn settle(self: Box<Self>, ended: Result<(), SqlError>) {
        Job::settle(*self, ended);
    }
}

impl Job for Box<dyn Queued> {
    fn is_abandoned(&self) -> bool {
        Queued::is_abandoned(&**self)
    }

    fn settle(self, ended: Result<(), SqlError>) {
        Queued::settle(self, ended);
    }
}

struct Works;

impl BatchWriter for Works {
    type Job = Box<dyn Queued>;

    async fn one(&self, tx: &mut Tx, job: &mut Self::Job) -> Result<bool, SqlError> {
        job.run(tx).await?;
        Ok(true)
    }
}
