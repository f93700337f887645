//! Closing several services that need each other: from the outside in, so that each still finds those that it calls.
//!
//! Must not know: which services there are.

use std::{future::Future, time::Duration};

use service_kit::shutdown::Shutdown;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// What all stages behind the first may take together, whatever a store does, once the first has answered its last request. With the time
/// to flush sinks, the process ends within five seconds of it.
pub(super) const AFTER_LAST_REQUEST_MAX: Duration = Duration::from_secs(4);
/// Of that, what is kept for each stage that is still to come.
const STAGE_MIN: Duration = Duration::from_millis(300);
/// How long tasks of a service may go on that has ended.
const TASKS_MAX: Duration = Duration::from_millis(100);

/// A service that runs, and its own switch.
pub(super) struct Running {
    name: &'static str,
    shutdown: Shutdown,
    task: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts it. If it ends by itself, for whatever reason, the whole process closes.
    pub(super) fn start(
        name: &'static str,
        process: &Shutdown,
        shutdown: Shutdown,
        run: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        // Told also where `run` panics.
        let end_all = TriggerOnDrop(process.clone());
        let task = tokio::spawn(async move {
            let _end_all = end_all;
            run.await
        });
        Self { name, shutdown, task: AbortOnDropHandle::new(task) }
    }

    /// Waits until it has ended, at most until `deadline`.
    async fn ended(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let result = match timeout_at(deadline, &mut self.task).await {
            Ok(Ok(result)) => result.map_err(|error| error.context(format!("{} failed", self.name))),
            Ok(Err(panic)) => Err(anyhow::Error::new(panic).context(format!("{} has stopped badly", self.name))),
            Err(_late) => {
                tracing::warn!(
                    service = self.name,
                    "did not close in time; what it has not finished is stored, and the next start goes on with it"
                );
                self.task.abort();
                return Ok(());
            }
        };
        self.shutdown.drained(TASKS_MAX).await;
        match &result {
            Ok(()) => tracing::info!(service = self.name, "closed"),
            Err(error) => tracing::error!(service = self.name, error = format!("{error:#}"), "ended with an error"),
        }
        result
    }
}

struct TriggerOnDrop(Shutdown);

impl Drop for TriggerOnDrop {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// Waits until `process` is to stop, then closes stage by stage, each once the one before has ended. The first may take `first_max`.
///
/// # Errors
/// The first error of a service; the others are closed all the same.
pub(super) async fn close_in_order(
    process: &Shutdown,
    stages: Vec<Vec<Running>>,
    first_max: Duration,
) -> anyhow::Result<()> {
    process.triggered().await;
    let mut result = Ok(());
    let mut deadline = Instant::now() + first_max;
    let mut end: Option<Instant> = None;
    let mut to_come = u32::try_from(stages.len()).unwrap_or(u32::MAX);
    for mut stage in stages {
        to_come = to_come.saturating_sub(1);
        if let Some(end) = end {
            deadline = end.checked_sub(STAGE_MIN * to_come).unwrap_or(end);
        }
        for service in &stage {
            service.shutdown.trigger();
        }
        for service in &mut stage {
            result = result.and(service.ended(deadline).await);
        }
        end.get_or_insert_with(|| Instant::now() + AFTER_LAST_REQUEST_MAX);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What happened, in order.
    #[derive(Default)]
    struct Events(Mutex<Vec<String>>);

    impl Events {
        fn add(&self, event: String) {
            self.0.lock().unwrap().push(event);
        }

        fn all(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    /// A service that takes this long to close, and tells when it is told to and when it has.
    fn service(name: &'static str, process: &Shutdown, events: &Arc<Events>, takes: Duration) -> Running {
        let (shutdown, events) = (process.stage(), Arc::clone(events));
        let stop = shutdown.clone();
        Running::start(name, process, shutdown, async move {
            stop.triggered().await;
            events.add(format!("{name} closes"));
            tokio::time::sleep(takes).await;
            events.add(format!("{name} closed"));
            Ok(())
        })
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_closes_when_the_one_before_has() {
        let (process, events) = (Shutdown::new(), Arc::new(Events::default()));
        let second = Duration::from_secs(1);
        let stages = vec![
            vec![service("gateway", &process, &events, 8 * second)],
            vec![service("order", &process, &events, second)],
            vec![service("payment", &process, &events, second / 2), service("inventory", &process, &events, second)],
            vec![service("identity", &process, &events, Duration::ZERO)],
        ];
        process.trigger();
        close_in_order(&process, stages, 10 * second).await.unwrap();
        let expected = [
            "gateway closes",
            "gateway closed",
            "order closes",
            "order closed",
            "payment closes",
            "inventory closes",
            "payment closed",
            "inventory closed",
            "identity closes",
            "identity closed",
        ];
        assert_eq!(events.all(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_hangs_leaves_time_for_the_others() {
        let (process, events) = (Shutdown::new(), Arc::new(Events::default()));
        let hour = Duration::from_hours(1);
        let stages = vec![
            vec![service("gateway", &process, &events, Duration::from_secs(1))],
            vec![service("order", &process, &events, hour)],
            vec![service("payment", &process, &events, hour), service("inventory", &process, &events, Duration::ZERO)],
            vec![service("identity", &process, &events, Duration::from_millis(200))],
        ];
        process.trigger();
        let began = Instant::now();
        close_in_order(&process, stages, Duration::from_secs(10)).await.unwrap();
        let closed: Vec<String> = events.all().into_iter().filter(|event| event.ends_with(" closed")).collect();
        assert_eq!(closed, ["gateway closed", "inventory closed", "identity closed"]);
        assert!(began.elapsed() <= Duration::from_secs(1) + AFTER_LAST_REQUEST_MAX, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_service_that_fails_closes_the_others_and_is_named() {
        let (process, events) = (Shutdown::new(), Arc::new(Events::default()));
        let failing = Running::start("order", &process, process.stage(), async { anyhow::bail!("no listener") });
        let stages = vec![vec![service("gateway", &process, &events, Duration::ZERO)], vec![failing]];
        let error = close_in_order(&process, stages, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "order failed: no listener");
        assert_eq!(events.all(), ["gateway closes", "gateway closed"]);
    }
}
