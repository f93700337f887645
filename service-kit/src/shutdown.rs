//! Stopping: one token tells everybody, and what was started is awaited for a bounded time.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// A signal this soon after the first is the same wish told twice.
const INSIST_AFTER: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Inner {
    token: CancellationToken,
    tasks: TaskTracker,
}

/// The stop signal of this process and the tasks that end with it. Clones share both.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Inner>);

impl Shutdown {
    /// Not triggered, with no tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled when shutdown begins.
    pub fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    /// Begins shutdown. Again is nothing.
    pub fn trigger(&self) {
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

    /// Starts a task that [`Shutdown::drained`] waits for. The task itself must watch [`Shutdown::token`] to end.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.tasks.spawn(future.instrument(tracing::debug_span!(parent: None, "task", task = name)))
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

    /// Triggers at SIGINT and SIGTERM. A second signal ends the process at once: a person who insists is right.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            let mut first: Option<tokio::time::Instant> = None;
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                match first {
                    None => first = Some(tokio::time::Instant::now()),
                    // A terminal tells the whole group, and whoever started us may tell us once more: that is one wish.
                    Some(at) if at.elapsed() < INSIST_AFTER => continue,
                    Some(_) => {
                        tracing::warn!(signal = name, "second signal: ending at once");
                        std::process::exit(130);
                    }
                }
                tracing::info!(signal = name, "stopping; a second signal ends at once");
                shutdown.trigger();
            }
        });
        Ok(())
    }
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
}
