//! What one transaction of the writer holds, and how it is written.
//!
//! One failure in a batch must not fail the others. Entries and starts are written together by a few statements; only if one of them
//! fails or is refused is the transaction begun anew and each written under a savepoint. Callers' work runs under a savepoint each.

use std::sync::Arc;

use amends_sql::{Database, Dialect, SqlError, Tx};
use tokio::sync::oneshot;

use super::{
    ApplyLocal, append,
    job::{Job, Work},
    start,
};
use crate::journal::{Append, Appended, JournalError, NewRow};

type Answer<T> = oneshot::Sender<Result<T, JournalError>>;
type Entry<L> = (Arc<Append<L>>, Answer<Appended>);

/// What is written together, by kind.
pub(super) struct Batch<L> {
    work: Vec<Box<dyn Work>>,
    starts: Vec<(NewRow, Answer<()>)>,
    entries: Vec<Entry<L>>,
}

/// How it went, in the order of the batch.
pub(super) struct Written {
    /// Whether anything was.
    pub(super) committed: bool,
    starts: Vec<Result<(), JournalError>>,
    entries: Vec<Result<Appended, JournalError>>,
}

impl<L> Batch<L> {
    /// Without those for whom nobody waits any more: under load that is work saved, and nothing of it has been promised. Entries are
    /// written all the same, because the saga has moved on by them.
    pub(super) fn of(jobs: Vec<Job<L>>) -> Self {
        let mut batch = Self { work: Vec::new(), starts: Vec::new(), entries: Vec::new() };
        for job in jobs {
            match job {
                Job::Work(job) if job.is_wanted() => batch.work.push(job),
                Job::Start(saga, answer) if !answer.is_closed() => batch.starts.push((saga, answer)),
                Job::Work(_) | Job::Start(..) => {}
                Job::Append(entry, answer) => batch.entries.push((entry, answer)),
            }
        }
        batch
    }

    pub(super) fn len(&self) -> usize {
        self.work.len() + self.starts.len() + self.entries.len()
    }

    /// Writes all of it in one transaction.
    pub(super) async fn write<A: ApplyLocal<Local = L>>(
        &mut self,
        database: &Database,
        apply: &A,
    ) -> Result<Written, SqlError> {
        let dialect = database.dialect();
        let entries: Vec<_> = self.entries.iter().map(|(entry, _)| Arc::clone(entry)).collect();
        let starts: Vec<_> = self.starts.iter().map(|(saga, _)| saga).collect();
        if entries.is_empty()
            && self.work.is_empty()
            && let Some(written) = only_starts(database, &starts).await?
        {
            return Ok(written);
        }
        let mut tx = database.begin().await?;
        if self.len() == 1 {
            let written = self.write_alone(&mut tx, dialect, apply).await?;
            return end(tx, written).await;
        }
        let together = together(&mut tx, dialect, apply, &entries, &starts).await?;
        let mut written = if let Some(written) = together {
            written
        } else {
            // Callers' work can be run only once, so it comes last, and this much can be done again.
            tx.rollback().await.map_err(SqlError::from)?;
            tx = database.begin().await?;
            one_by_one(&mut tx, dialect, apply, &entries, &starts).await?
        };
        written.committed |= write_work(&mut tx, &mut self.work).await?;
        end(tx, written).await
    }

    /// Its failure rolls everything back, which is only it: no savepoint is needed.
    async fn write_alone<A: ApplyLocal<Local = L>>(
        &mut self,
        tx: &mut Tx,
        dialect: Dialect,
        apply: &A,
    ) -> Result<Written, SqlError> {
        let mut written = Written { committed: false, starts: Vec::new(), entries: Vec::new() };
        for job in &mut self.work {
            written.committed = job.run(tx).await;
        }
        for (saga, _) in &self.starts {
            let started = start::one(tx, saga).await?;
            written.committed = started.is_ok();
            written.starts.push(started);
        }
        for (entry, _) in &self.entries {
            let verdict = append::one(tx, dialect, apply, entry).await?;
            written.committed = is_kept(&verdict);
            written.entries.push(verdict);
        }
        Ok(written)
    }

    /// Tells everyone.
    pub(super) fn answer(self, written: Written) {
        for job in self.work {
            job.answer(Ok(()));
        }
        for ((_, answer), started) in self.starts.into_iter().zip(written.starts) {
            let _gone = answer.send(started);
        }
        for ((_, answer), verdict) in self.entries.into_iter().zip(written.entries) {
            let _gone = answer.send(verdict);
        }
    }

    /// What was to be written.
    pub(super) fn into_jobs(self) -> impl Iterator<Item = Job<L>> {
        let starts = self.starts.into_iter().map(|(saga, answer)| Job::Start(saga, answer));
        let entries = self.entries.into_iter().map(|(entry, answer)| Job::Append(entry, answer));
        self.work.into_iter().map(Job::Work).chain(starts).chain(entries)
    }
}

/// By one statement, which is a transaction of its own: two round trips fewer. None if the database refuses one of them.
async fn only_starts(database: &Database, starts: &[&NewRow]) -> Result<Option<Written>, SqlError> {
    let mut connection = database.writer().acquire().await?;
    match start::all(&mut connection, starts).await {
        Ok(starts) => Ok(Some(Written { committed: starts.iter().any(Result::is_ok), starts, entries: Vec::new() })),
        Err(error) if error.is_transient() => Err(error),
        Err(_refused) => Ok(None),
    }
}

/// Each under a savepoint of its own; true if anything is to be kept.
async fn write_work(tx: &mut Tx, work: &mut [Box<dyn Work>]) -> Result<bool, SqlError> {
    let (mut kept, mut last) = (false, None);
    for job in work {
        match last {
            None => savepoint(tx).await?,
            Some(true) => next_savepoint(tx).await?,
            // It was just gone back to.
            Some(false) => {}
        }
        let keep = job.run(tx).await;
        if !keep {
            back_to_savepoint(tx).await?;
        }
        kept |= keep;
        last = Some(keep);
    }
    if last.is_some() {
        release(tx).await?;
    }
    Ok(kept)
}

/// Without a savepoint; none if one of them cannot be written, and then all are to be written again.
async fn together<A: ApplyLocal>(
    tx: &mut Tx,
    dialect: Dialect,
    apply: &A,
    entries: &[Arc<Append<A::Local>>],
    starts: &[&NewRow],
) -> Result<Option<Written>, SqlError> {
    let attempt = async {
        let entries = match entries {
            [] => Some(Vec::new()),
            entries => append::together(tx, dialect, apply, entries).await?,
        };
        let Some(entries) = entries else { return Ok::<_, SqlError>(None) };
        let starts = if starts.is_empty() { Vec::new() } else { start::all(tx, starts).await? };
        Ok(Some(Written { committed: !entries.is_empty() || !starts.is_empty(), starts, entries }))
    };
    match attempt.await {
        Err(error) if !error.is_transient() => Ok(None),
        attempted => attempted,
    }
}

/// With a savepoint each.
async fn one_by_one<A: ApplyLocal>(
    tx: &mut Tx,
    dialect: Dialect,
    apply: &A,
    entries: &[Arc<Append<A::Local>>],
    starts: &[&NewRow],
) -> Result<Written, SqlError> {
    let mut written = Written { committed: true, starts: Vec::new(), entries: Vec::new() };
    for entry in entries {
        savepoint(tx).await?;
        let verdict = of_one(append::one(tx, dialect, apply, entry).await)?;
        if is_kept(&verdict) {
            release(tx).await?;
        } else {
            roll_back(tx).await?;
        }
        written.entries.push(verdict);
    }
    for saga in starts {
        savepoint(tx).await?;
        let started = of_one(start::one(tx, saga).await)?;
        if started.is_ok() {
            release(tx).await?;
        } else {
            roll_back(tx).await?;
        }
        written.starts.push(started);
    }
    Ok(written)
}

/// What waiting mends is everybody's failure; anything else is the one's alone.
fn of_one<T>(result: Result<Result<T, JournalError>, SqlError>) -> Result<Result<T, JournalError>, SqlError> {
    match result {
        Err(error) if !error.is_transient() => Ok(Err(error.into())),
        other => other,
    }
}

const fn is_kept(verdict: &append::Verdict) -> bool {
    !matches!(verdict, Ok(Appended::LocalRefused(_)) | Err(_))
}

async fn end(tx: Tx, written: Written) -> Result<Written, SqlError> {
    if written.committed {
        tx.commit().await.map_err(SqlError::from)?;
    } else {
        // There is nothing in it. Should this fail, the connection is closed, which comes to the same.
        let _closed = tx.rollback().await;
    }
    Ok(written)
}

async fn savepoint(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "SAVEPOINT one").await
}

async fn release(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "RELEASE SAVEPOINT one").await
}

/// Undoes what came after the savepoint, and forgets it.
async fn roll_back(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one").await
}

/// Keeps what came after the savepoint, and sets the next one: one round trip, not two.
async fn next_savepoint(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "RELEASE SAVEPOINT one; SAVEPOINT one").await
}

/// Undoes what came after the savepoint, which stays.
async fn back_to_savepoint(tx: &mut Tx) -> Result<(), SqlError> {
    execute(tx, "ROLLBACK TO SAVEPOINT one").await
}

async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), SqlError> {
    sqlx::raw_sql(sql).execute(&mut **tx).await.map_err(SqlError::from)?;
    Ok(())
}
