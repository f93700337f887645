//! Whether this process can take work: named checks, all asked at once, each within a bound.
//!
//! Not ready is what this process itself cannot do: its own store has failed, its own configuration is wrong. What another
//! service cannot do at the moment is reported beside it and takes no replica out of service: all replicas would go at once, with all
//! that they can still do, and come back as late as the slowest probe.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all};
use parking_lot::RwLock;

/// A probe asks every second or so; one that takes longer than this counts as failed.
const CHECK_BOUND: Duration = Duration::from_secs(2);

const STARTING: &str = "starting";

/// Asks one dependency whether it is well; the error says in words what is not.
type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a check answers, some time.
pub trait Answer: Future<Output = Result<(), String>> + Send + 'static {}

impl<F: Future<Output = Result<(), String>> + Send + 'static> Answer for F {}

/// The checks of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Checks>);

#[derive(Default)]
struct Checks {
    deciding: RwLock<BTreeMap<String, Check>>,
    reported: RwLock<BTreeMap<String, Check>>,
}

impl Readiness {
    /// No checks: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the check `<service>-<what>`, such as `order-store`, or replaces it: one process may be several services, and what fails is
    /// named by the service that needs it. `check` says in words what is not well.
    pub fn add<A: Answer>(&self, service: &str, what: &str, check: impl Fn() -> A + Send + Sync + 'static) {
        self.0.deciding.write().insert(format!("{service}-{what}"), Arc::new(move || Box::pin(check())));
    }

    /// As [`add`](Self::add), for a check that is reported and decides nothing.
    pub fn report<A: Answer>(&self, service: &str, what: &str, check: impl Fn() -> A + Send + Sync + 'static) {
        self.0.reported.write().insert(format!("{service}-{what}"), Arc::new(move || Box::pin(check())));
    }

    /// From now on not ready, until [`Readiness::started`]: the process answers its operators before its services are built.
    pub fn starting(&self) {
        let check: Check = Arc::new(|| Box::pin(async { Err("not all listeners are bound yet".to_owned()) }));
        self.0.deciding.write().insert(STARTING.to_owned(), check);
    }

    /// The services are built and their listeners bound.
    pub fn started(&self) {
        self.0.deciding.write().remove(STARTING);
    }

    /// Whether the services are still being built.
    pub fn is_starting(&self) -> bool {
        self.0.deciding.read().contains_key(STARTING)
    }

    /// Asks all checks at once. The answer names each with its result, in the order of names.
    pub async fn ask(&self) -> Vec<(String, Result<(), String>)> {
        ask_all(&self.0.deciding).await
    }

    /// Asks the checks that decide nothing.
    pub async fn ask_reported(&self) -> Vec<(String, Result<(), String>)> {
        ask_all(&self.0.reported).await
    }
}

async fn ask_all(checks: &RwLock<BTreeMap<String, Check>>) -> Vec<(String, Result<(), String>)> {
    let checks: Vec<(String, Check)> = checks.read().iter().map(|(n, c)| (n.clone(), Arc::clone(c))).collect();
    join_all(checks.into_iter().map(|(name, check)| async move {
        let result = tokio::time::timeout(CHECK_BOUND, check()).await;
        (name, result.unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_BOUND.as_secs()))))
    }))
    .await
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.deciding.read().keys()).entries(self.0.reported.read().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_starts_is_not_ready_yet() {
        let readiness = Readiness::new();
        readiness.starting();
        assert!(readiness.ask().await.iter().any(|(_, answer)| answer.is_err()));
        readiness.started();
        assert!(readiness.ask().await.is_empty());
    }

    #[tokio::test]
    async fn what_is_only_reported_decides_nothing() {
        let readiness = Readiness::new();
        readiness.report("order", "payment", || async { Err("away".to_owned()) });
        assert!(readiness.ask().await.is_empty());
        assert_eq!(readiness.ask_reported().await, [("order-payment".to_owned(), Err("away".to_owned()))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_has_failed() {
        let readiness = Readiness::new();
        readiness.add("a", "good", || async { Ok(()) });
        readiness.add("a", "bad", || async { Err("refused".to_owned()) });
        readiness.add("a", "hung", std::future::pending);
        let answers = readiness.ask().await;
        assert_eq!(answers[0], ("a-bad".to_owned(), Err("refused".to_owned())));
        assert_eq!(answers[1], ("a-good".to_owned(), Ok(())));
        assert_eq!(answers[2], ("a-hung".to_owned(), Err("no answer within 2 s".to_owned())));
    }
}
