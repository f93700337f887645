//! Connections to one SQLite file, at most so many; those that are free are used again.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    session::{Opening, Session},
    threads::{aside, may_wait, waiting},
};

/// The connections of one file. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Files(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Changed once, when the file is there.
    opening: Mutex<Opening>,
    free: Mutex<Vec<Session>>,
    /// One for each connection, in the order in which they were asked for.
    permits: Arc<Semaphore>,
    size: u32,
    acquire_timeout: Duration,
}

/// Neither holds anything half-done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    pub(crate) fn new(opening: Opening, size: u32, acquire_timeout: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared { opening: Mutex::new(opening), free: Mutex::default(), permits, size, acquire_timeout }))
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// When none is free in time, when the file cannot be opened, or after [`close`](Self::close).
    pub(crate) async fn acquire(&self) -> Result<Held, Error> {
        let shared = &self.0;
        let permit = if let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            permit
        } else {
            let turn = tokio::time::timeout(shared.acquire_timeout, Arc::clone(&shared.permits).acquire_owned());
            let turn = turn.await.map_err(|_elapsed| Error::PoolTimedOut)?;
            turn.map_err(|_closed| Error::PoolClosed)?
        };
        let mut held =
            Held { session: locked(&shared.free).pop(), reuse: true, shared: Arc::clone(shared), permit: Some(permit) };
        if held.session.is_some() {
            return Ok(held);
        }
        let opening = locked(&shared.opening).clone();
        // Given up it goes on, and keeps its place until then: no more threads wait for a disk that hangs than there are places.
        let opened = waiting(move || {
            held.session = Some(opening.open()?);
            Ok(held)
        });
        let opened =
            tokio::time::timeout(shared.acquire_timeout, opened).await.map_err(|_elapsed| Error::PoolTimedOut)?;
        opened.ok_or(Error::WorkerCrashed)?
    }

    /// From now on a file that is gone is not made anew.
    pub(crate) fn change_opening(&self, change: impl FnOnce(&mut Opening)) {
        change(&mut locked(&self.0.opening));
    }

    /// Waits for the connections in use, and closes all.
    pub(crate) async fn close(&self) {
        let shared = &self.0;
        // Fails when it is closed already.
        let _all = shared.permits.acquire_many(shared.size).await;
        shared.permits.close();
        let free = mem::take(&mut *locked(&shared.free));
        // None only when the runtime ends, and then they are closed by that.
        let _closed = waiting(move || drop(free)).await;
    }
}

/// A connection in use. Dropped, it is free again; a transaction that is open on it is rolled back first.
#[derive(Debug)]
pub(crate) struct Held {
    /// None before it is opened, and once it has been dropped.
    session: Option<Session>,
    /// Otherwise it is closed.
    reuse: bool,
    shared: Arc<Shared>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Runs `work` on the connection, on a thread that may wait for the disk. Given up by its caller it goes on to its end, and the
    /// connection is free after that.
    ///
    /// # Errors
    /// What the work returns; `WorkerCrashed`, and then the connection is gone, if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        held: &mut Option<Self>,
        work: impl FnOnce(&Session) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let own = held.take().ok_or(Error::WorkerCrashed)?;
        let run = move || {
            let Some(session) = &own.session else { return (own, Err(Error::WorkerCrashed)) };
            let done = work(session);
            (own, done)
        };
        if may_wait() {
            let (own, done) = run();
            *held = Some(own);
            return done;
        }
        let (own, done) = waiting(run).await.ok_or(Error::WorkerCrashed)?;
        *held = Some(own);
        done
    }

    /// It is closed instead of being used again.
    pub(crate) fn give_up(&mut self) {
        self.reuse = false;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let (shared, reuse) = (Arc::clone(&self.shared), self.reuse && !self.shared.permits.is_closed());
        if reuse && !session.is_in_transaction() {
            locked(&shared.free).push(session);
            return;
        }
        // Rolling back forgets pages in memory, but closing may wait for the disk. Only then is it another's turn.
        let permit = self.permit.take();
        aside(move || {
            if reuse && session.simple("ROLLBACK").is_ok() {
                locked(&shared.free).push(session);
            } else {
                drop(session);
            }
            drop(permit);
        });
    }
}
