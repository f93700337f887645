//! Tells others what happened: signed HTTP calls, at least once each.
//!
//! An event is written down in the same write as the change it tells of, in the service's own record or transaction
//! ([`outbox`]). The relay
//! makes one delivery of it for each endpoint that wants it, and takes it out; workers, a few for each endpoint, claim what is due
//! under a lease, send it and settle it.
//!
//! | crash after              | on record                     | what follows                                                     |
//! |--------------------------|-------------------------------|------------------------------------------------------------------|
//! | nothing                  | the state as it was           | the call is repeated                                             |
//! | the change               | change and event              | any replica's sweep finds the event                              |
//! | the deliveries are made  | event and deliveries          | they are made again, under the same keys: nothing; event removed |
//! | the event is removed     | deliveries, pending           | a worker claims them                                             |
//! | a delivery is claimed    | pending, leased               | the lease ends, another claims it                                |
//! | the endpoint accepted it | pending, leased               | it is sent again, under the same id                              |
//! | that is settled          | delivered                     | nothing                                                          |
//!
//! So a receiver sees an event once or more, always under the same id, in no particular order.
//!
//! There is no polling: a commit in this process wakes the relay, a worker sleeps until a delivery is due, and a slow sweep finds
//! what other processes left.
//!
//! Must not know: which events there are and when they happen.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod attempt;
pub mod config;
pub mod delivery;
pub mod event;
mod metrics;
pub mod outbox;
mod relay;
mod sender;
pub mod signature;
pub mod store;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amends_primitives::{Clock, Moment, Timestamp};
use reqwest::Client;
use service_kit::{Runtime, shutdown::Shutdown};
use tokio::{sync::Notify, task::JoinSet};

use self::{
    attempt::RetryLimits, config::WebhooksConfig, event::EventKind, metrics::WebhookMetrics, outbox::Outbox,
    sender::Target,
};
use crate::store::WebhookStore;

/// What a lease lasts beyond the attempt itself: writing its outcome down takes a moment.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// After a failure of the store, before it is asked again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long attempts in flight may take to end at shutdown. What is cut is sent again once its lease ends.
const DRAIN_MAX: Duration = Duration::from_secs(2);

struct Endpoint {
    target: Target,
    wanted: Vec<EventKind>,
    /// Rung when there may be something due.
    due: Notify,
}

struct Inner<E> {
    /// Whose webhooks they are, in traces.
    service: &'static str,
    store: Arc<dyn WebhookStore<Error = E>>,
    clock: Arc<dyn Clock>,
    client: Client,
    endpoints: Vec<Arc<Endpoint>>,
    outbox: Outbox,
    retry_limits: RetryLimits,
    lease: Duration,
    concurrency: usize,
    sweep: Duration,
    kept: Duration,
    metrics: WebhookMetrics,
    /// When to forget old deliveries next.
    forget_at: Mutex<Moment>,
}

/// Tells all configured endpoints. Clones share it.
pub struct Webhooks<E>(Arc<Inner<E>>);

impl<E> Clone for Webhooks<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Endpoints have secrets.
impl<E> fmt::Debug for Webhooks<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("endpoints", &self.0.endpoints.len()).finish_non_exhaustive()
    }
}

impl<E: std::error::Error + Send + Sync + 'static> Webhooks<E> {
    /// Tells of `kinds`, which are those that happen in `service`. `None` where no endpoint is to be told.
    ///
    /// # Errors
    /// When an endpoint's URL or secret is invalid, which the configuration's own validation finds first, or no HTTP client can be
    /// made.
    pub fn new(
        service: &'static str,
        config: &WebhooksConfig,
        kinds: &[EventKind],
        store: Arc<dyn WebhookStore<Error = E>>,
        runtime: &Runtime,
    ) -> anyhow::Result<Option<Self>> {
        let mut endpoints = Vec::new();
        for endpoint in config.enabled() {
            let wanted = kinds.iter().filter(|kind| endpoint.wants(kind)).cloned().collect();
            endpoints.push(Arc::new(Endpoint { target: Target::new(endpoint)?, wanted, due: Notify::new() }));
        }
        if endpoints.is_empty() {
            return Ok(None);
        }
        let wanted_by_any = |kind: &&EventKind| endpoints.iter().any(|endpoint| endpoint.wanted.contains(*kind));
        let outbox = Outbox::of(kinds.iter().filter(wanted_by_any).cloned().collect());
        Ok(Some(Self(Arc::new(Inner {
            service,
            store,
            clock: Arc::clone(&runtime.clock),
            client: sender::client(config)?,
            endpoints,
            outbox,
            retry_limits: RetryLimits::from(config),
            lease: config.attempt_timeout() + LEASE_MARGIN,
            concurrency: config.concurrency as usize,
            sweep: config.sweep(),
            kept: config.kept(),
            metrics: WebhookMetrics::new(&runtime.metrics),
            forget_at: Mutex::new(runtime.clock.moment()),
        }))))
    }

    /// Where the use cases put what is to be told.
    pub fn outbox(&self) -> Outbox {
        self.0.outbox.clone()
    }

    /// Looks at everything now, instead of at the next sweep.
    pub fn wake(&self) {
        self.0.outbox.notify();
        self.ring_endpoints();
    }

    fn ring_endpoints(&self) {
        for endpoint in &self.0.endpoints {
            endpoint.due.notify_one();
        }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether it is time to forget old deliveries; once an hour is often enough.
    fn time_to_forget(&self) -> bool {
        let (now, mut forget_at) =
            (self.0.clock.moment(), self.0.forget_at.lock().unwrap_or_else(PoisonError::into_inner));
        let due = now >= *forget_at;
        if due {
            *forget_at = now + Duration::from_hours(1);
        }
        due
    }

    /// Runs until shutdown; then attempts in flight may end, within a bound.
    pub async fn run(self, shutdown: Shutdown) {
        let mut tasks = JoinSet::new();
        for endpoint in &self.0.endpoints {
            let (webhooks, endpoint, shutdown) = (self.clone(), Arc::clone(endpoint), shutdown.clone());
            tasks.spawn(async move { webhooks.run_endpoint(&endpoint, &shutdown).await });
        }
        tasks.spawn(async move { self.run_relay(&shutdown).await });
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a webhook worker has stopped");
            }
        }
    }
}
