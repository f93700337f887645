//! Delivers what is due, endpoint by endpoint: each has its own few attempts at once, so a slow one does not delay the others.
//!
//! Must not know: what events mean.

use std::{sync::Arc, time::Duration};

use service_kit::shutdown::Shutdown;
use tokio::{task::JoinSet, time::Instant};
use tracing::{Instrument as _, field::Empty};

use super::{
    DRAIN_MAX, Endpoint, PAUSE_AFTER_FAILURE, Webhooks,
    delivery::{Delivery, Next},
    sender,
};

/// At least a moment, whatever the clocks say: no busy loop.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Deliveries moved by one statement, so that none holds the writer for long.
const REBASE_BATCH: u32 = 200;

impl<E: std::error::Error + Send + Sync + 'static> Webhooks<E> {
    pub(super) async fn run_endpoint(&self, endpoint: &Arc<Endpoint>, shutdown: &Shutdown) {
        let (mut in_flight, mut rebase_at) = (JoinSet::new(), Instant::now());
        loop {
            let pause = tokio::select! {
                biased;
                () = shutdown.triggered() => break,
                pause = self.fill(endpoint, &mut in_flight, &mut rebase_at) => pause,
            };
            tokio::select! {
                biased;
                () = shutdown.triggered() => break,
                Some(ended) = in_flight.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an attempt to deliver a webhook has stopped badly");
                    }
                }
                () = endpoint.due.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        let drained = tokio::time::timeout(DRAIN_MAX, async { while in_flight.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            let name = &*endpoint.target.name;
            tracing::warn!(endpoint = name, webhooks = in_flight.len(), "cut off; sent again when their leases end");
        }
    }

    /// Begins as many attempts as there is room for, and tells how long there is nothing to do.
    async fn fill(&self, endpoint: &Arc<Endpoint>, in_flight: &mut JoinSet<()>, rebase_at: &mut Instant) -> Duration {
        let filled = async {
            // At start, and then as often as everything is looked at: each time it reads all that waits here.
            if Instant::now() >= *rebase_at {
                self.rebase(&endpoint.target.name).await?;
                *rebase_at = Instant::now() + self.0.sweep;
            }
            self.try_fill(endpoint, in_flight).await
        };
        match filled.await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, endpoint = &*endpoint.target.name, "webhooks that are due cannot be looked up");
                PAUSE_AFTER_FAILURE
            }
        }
    }

    /// So that no delivery waits longer because the clock was set back.
    async fn rebase(&self, endpoint: &str) -> Result<(), E> {
        let mut moved = 0;
        loop {
            let batch = self.0.store.rebase(endpoint, self.now(), REBASE_BATCH).await?;
            moved += batch;
            if batch < u64::from(REBASE_BATCH) {
                break;
            }
        }
        if moved > 0 {
            tracing::warn!(
                endpoint,
                webhooks = moved,
                "the clock was set back: what waited is due by the clock as it is"
            );
        }
        Ok(())
    }

    async fn try_fill(&self, endpoint: &Arc<Endpoint>, in_flight: &mut JoinSet<()>) -> Result<Duration, E> {
        let (inner, name) = (&self.0, &*endpoint.target.name);
        while in_flight.len() < inner.concurrency {
            let now = self.now();
            let Some(delivery) = inner.store.claim_due(name, now, now + inner.lease).await? else {
                let backlog = inner.store.backlog(name).await?;
                let age = backlog.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
                inner.metrics.pending_age(name, age);
                let until_due = backlog.next_due.map_or(inner.sweep, |due| due.since(now));
                return Ok(until_due.clamp(PAUSE_MIN, inner.sweep.max(PAUSE_MIN)));
            };
            let (webhooks, endpoint) = (self.clone(), Arc::clone(endpoint));
            in_flight.spawn(async move { webhooks.attempt(&endpoint, delivery).await });
        }
        // Full: an attempt that ends makes room.
        Ok(inner.sweep)
    }

    /// Delivers all that is due to the endpoint of that name, and waits for it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliver_due(&self, endpoint: &str) -> Result<(), E> {
        let Some(endpoint) = self.0.endpoints.iter().find(|known| &*known.target.name == endpoint) else {
            return Ok(());
        };
        let mut in_flight = JoinSet::new();
        self.rebase(&endpoint.target.name).await?;
        loop {
            self.try_fill(endpoint, &mut in_flight).await?;
            if in_flight.join_next().await.is_none() {
                return Ok(());
            }
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, delivery: Delivery) {
        let attached = service_base::context::spans_of(self.0.service).attach();
        let span = tracing::info_span!(
            "webhook",
            otel.name = "deliver",
            otel.kind = "client",
            otel.status_code = Empty,
            peer.service = &*endpoint.target.name,
            service.peer.name = &*endpoint.target.name,
            server.address = endpoint.target.host(),
            webhook.id = delivery.event_id,
            webhook.attempt = delivery.attempts,
            payment.id = delivery.payment_id.map(tracing::field::display),
            order.id = %delivery.order_id,
            result = Empty,
        );
        drop(attached);
        self.attempt_in_span(endpoint, delivery, &span).instrument(span.clone()).await;
    }

    async fn attempt_in_span(&self, endpoint: &Endpoint, delivery: Delivery, span: &tracing::Span) {
        let (inner, name) = (&self.0, &*endpoint.target.name);
        let begun = Instant::now();
        let answer = sender::send(&inner.client, &endpoint.target, &delivery, self.now()).await;
        inner.metrics.attempt(name, answer.result(), begun.elapsed());
        span.record("result", answer.result());
        let settlement = inner.retry_limits.settle(&delivery, answer, self.now(), rand::random());
        if settlement.next != Next::Delivered {
            span.record("otel.status_code", "ERROR");
        }
        let answer = &settlement.answer;
        // The span has the webhook's id.
        match inner.store.settle(&delivery, &settlement).await {
            Ok(false) => tracing::info!(endpoint = name, "another attempt has settled it"),
            Ok(true) => match settlement.next {
                Next::Delivered => inner.metrics.delivered(name),
                Next::Retry { at } => tracing::info!(endpoint = name, answer, next = %at, "not delivered yet"),
                Next::Dead => {
                    inner.metrics.dead(name);
                    tracing::error!(endpoint = name, answer, "given up: a dead letter");
                }
            },
            // The lease ends, and it is sent again under the same id.
            Err(error) => tracing::warn!(%error, endpoint = name, "the outcome cannot be stored"),
        }
    }
}
