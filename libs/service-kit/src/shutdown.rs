//! Stopping: one token tells every task, and what was started is awaited for a bounded time.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use service_base::context::carried;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

#[derive(Default)]
struct Inner {
    /// The process is about to stop: it takes work still, and should be sent none.
    announced: CancellationToken,
    /// The process stops, whether or not it is the turn of what this belongs to.
    stopping: CancellationToken,
    token: CancellationToken,
    is_stage: bool,
    tasks: TaskTracker,
}

/// The stop signal of this process and the tasks that end with it. Clones share both.
#[derive(Clone)]
pub struct Shutdown(Arc<Inner>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Not triggered, with no tasks.
    pub fn new() -> Self {
        let token = CancellationToken::new();
        Self(Arc::new(Inner { stopping: token.clone(), token, ..Inner::default() }))
    }

    /// One of several parts of this process that close one after the other: triggered by itself, when it is its turn, with tasks of its
    /// own. It knows from the whole when that [is announced](Self::is_announced) and when it [stops](Self::stopping).
    #[must_use]
    pub fn stage(&self) -> Self {
        let Inner { announced, stopping, .. } = &*self.0;
        let (announced, stopping) = (announced.clone(), stopping.clone());
        Self(Arc::new(Inner { announced, stopping, is_stage: true, ..Inner::default() }))
    }

    /// A token that is cancelled when shutdown begins.
    pub fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    /// A token that is cancelled when the process begins to stop. In a [stage](Self::stage) that is before its own turn: it still serves
    /// those that are closed before it, but no longer keeps them waiting: it ends streams that have no end, and cuts waits short.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Whether this is one of several [stages](Self::stage): then those that call it from within the process close before it does.
    pub fn is_stage(&self) -> bool {
        self.0.is_stage
    }

    /// Says that shutdown will begin soon, so that readiness probes send no more work. Again is nothing.
    pub fn announce(&self) {
        self.0.announced.cancel();
    }

    /// Whether shutdown is announced, or has begun.
    pub fn is_announced(&self) -> bool {
        self.0.announced.is_cancelled() || self.is_triggered()
    }

    /// Begins shutdown. Again is nothing.
    pub fn trigger(&self) {
        self.announce();
        self.0.token.cancel();
    }

    /// Whether shutdown has begun.
    pub fn is_triggered(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Waits until shutdown begins.
    pub async fn triggered(&self) {
        self.0.token.cancelled().await;
    }

    /// Starts a task that [`Shutdown::drained`] waits for. The task itself must watch [`Shutdown::token`] to end. It is work of the request
    /// at hand, if there is one.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.tasks.spawn(carried(future).instrument(tracing::debug_span!(parent: None, "task", task = name)))
    }

    /// Waits, at most `bound`, until every task started here has ended. Whether they all did.
    pub async fn drained(&self, bound: Duration) -> bool {
        self.0.tasks.close();
        let drained = tokio::time::timeout(bound, self.0.tasks.wait()).await.is_ok();
        if !drained {
            tracing::warn!(tasks = self.0.tasks.len(), ?bound, "tasks are still running; stopping without them");
        }
        drained
    }
}

/// Does what is left to do at the end of a service, for at most `bound`: a store that does not answer must not hold the process.
///
/// `None` where it did not end in time; it is given up then, as in a crash, which everything here recovers from.
pub async fn finish<T>(service: &'static str, bound: Duration, work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::time::timeout(bound, work).await.ok();
    if done.is_none() {
        tracing::warn!(
            service,
            ?bound,
            "the service did not close in time; what is unfinished is found by the next start"
        );
    }
    done
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("triggered", &self.is_triggered()).field("tasks", &self.0.tasks.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_tasks_but_not_for_ever() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        shutdown.spawn("polite", async move { token.cancelled().await });
        shutdown.trigger();
        assert!(shutdown.drained(Duration::from_secs(1)).await);

        shutdown.spawn("stuck", std::future::pending::<()>());
        assert!(!shutdown.drained(Duration::from_secs(1)).await);
    }

    #[test]
    fn a_stage_closes_when_it_is_told_and_knows_of_the_whole() {
        let process = Shutdown::new();
        let stage = process.stage();
        process.announce();
        assert!(stage.is_announced() && !stage.stopping().is_cancelled());
        process.trigger();
        assert!(stage.stopping().is_cancelled() && !stage.is_triggered());
        stage.trigger();
        assert!(stage.is_triggered());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_with_a_store_that_does_not() {
        assert_eq!(finish("test", Duration::from_secs(3), async { 7 }).await, Some(7));
        assert_eq!(finish("test", Duration::from_secs(3), std::future::pending::<u8>()).await, None);
    }
}
