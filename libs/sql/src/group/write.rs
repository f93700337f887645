//! Writing one batch: together if that can be, else one by one in one transaction.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio::time::Instant;

use super::{Batch, BatchWriter, Job, Savepoints};
use crate::{Database, SqlError, Tx};

/// Writes the jobs and tells their callers, unless all of them fail.
pub(super) async fn batch<W: BatchWriter>(
    database: &Database,
    writer: &W,
    jobs: &mut Vec<W::Job>,
) -> Result<(), SqlError> {
    let begun = Instant::now();
    writer.arrange(jobs);
    let attempt = database.bounded(guarded(write(database, writer, jobs))).await;
    let committed = attempt.as_ref().is_ok_and(|written| written.committed);
    writer.observe(&Batch { jobs: jobs.len(), committed, took: begun.elapsed() });
    let mut failed = attempt?.failed.into_iter();
    for job in jobs.drain(..) {
        job.settle(failed.next().flatten().map_or(Ok(()), Err));
    }
    Ok(())
}

struct Written {
    committed: bool,
    /// What failed alone, by its place in the batch; empty if nothing did.
    failed: Vec<Option<SqlError>>,
}

async fn write<W: BatchWriter>(database: &Database, writer: &W, jobs: &mut [W::Job]) -> Result<Written, SqlError> {
    if let Some(committed) = unless_refused(guarded(writer.by_one_statement(database, jobs)).await)? {
        return Ok(Written { committed, failed: Vec::new() });
    }
    if jobs.len() > 1 {
        let mut tx = database.begin().await?;
        match unless_refused(guarded(writer.together(&mut tx, jobs)).await)? {
            Some(kept) => {
                let committed = end(tx, kept).await?;
                return Ok(Written { committed, failed: Vec::new() });
            }
            None => tx.rollback().await?,
        }
    }
    one_by_one(database, writer, jobs).await
}

/// What waiting mends is everyone's failure; anything else says only that the batch cannot be written in this way.
fn unless_refused(attempt: Result<Option<bool>, SqlError>) -> Result<Option<bool>, SqlError> {
    match attempt {
        Err(error) if !error.is_transient() => {
            tracing::debug!(error = crate::in_words(&error), "a batch cannot be written together");
            Ok(None)
        }
        attempt => attempt,
    }
}

async fn one_by_one<W: BatchWriter>(database: &Database, writer: &W, jobs: &mut [W::Job]) -> Result<Written, SqlError> {
    let mut tx = database.begin().await?;
    let (mut any, mut failed) = (false, Vec::with_capacity(jobs.len()));
    // The failure of one that is alone rolls everything back, which is only it.
    let mut savepoints = (jobs.len() > 1).then(Savepoints::default);
    for job in jobs {
        if let Some(savepoints) = &mut savepoints {
            savepoints.set(&mut tx).await?;
        }
        let (keep, error) = match guarded(writer.one(&mut tx, job)).await {
            Ok(keep) => (keep, None),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => (false, Some(error)),
        };
        if let Some(savepoints) = &mut savepoints {
            savepoints.keep(&mut tx, keep).await?;
        }
        any |= keep;
        failed.push(error);
    }
    if let Some(savepoints) = savepoints
        && any
    {
        savepoints.end(&mut tx).await?;
    }
    Ok(Written { committed: end(tx, any).await?, failed })
}

/// Commits, if there is anything to keep.
async fn end(tx: Tx, keep: bool) -> Result<bool, SqlError> {
    if keep {
        tx.commit().await?;
    } else {
        // There is nothing in it. Should this fail, the connection is closed, which comes to the same.
        let _closed = tx.rollback().await;
    }
    Ok(keep)
}

/// Makes a panic an error: the task must go on for the others.
///
/// # Errors
/// What the attempt returns, or [`SqlError::Bug`] if it panics.
pub async fn guarded<T, E: From<SqlError>>(attempt: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic).into()))
}

fn panicked(panic: &(dyn Any + Send)) -> SqlError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    SqlError::Bug(sqlx::Error::Protocol(format!("a write panicked: {}", message.unwrap_or_default())))
}
