//! Watches the two ports: a client span and a duration for each call to the store and to the processor, by the names that
//! OpenTelemetry gives them.
//!
//! Must not know: what the calls mean, beyond how they ended.

use std::{future::Future, sync::Arc};

use amends_primitives::PaymentId;
use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use service_base::metrics::{DurationFamily, Metrics, StoreCalls, TraceLabel};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    SERVICE,
    domain::{Payment, Record, StepKey},
    processor::{
        AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk,
        RefundOutcome, VoidOutcome,
    },
    store::{Claimed, ListQuery, Page, PaymentStore, StoreError, Swapped},
};
use amends_webhooks::event::Outgoing;

/// The bank, simulated or not.
const PROCESSOR: &str = "acquirer";
const COLLECTION: &str = "payments";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessorLabels {
    service: &'static str,
    peer_service: &'static str,
    service_peer_name: &'static str,
    operation: &'static str,
    result: &'static str,
}

/// A store that is watched.
pub struct ObservedStore {
    inner: Arc<dyn PaymentStore>,
    system: &'static str,
    calls: StoreCalls,
}

impl ObservedStore {
    /// Watches `inner`, which is a `system` (`mongodb`, `sqlite`).
    pub fn new(inner: Arc<dyn PaymentStore>, system: &'static str, metrics: &Metrics) -> Self {
        Self { inner, system, calls: StoreCalls::new(SERVICE, system, metrics) }
    }

    async fn watched<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let span = tracing::info_span!(
            "db",
            otel.name = format!("{operation} {COLLECTION}"),
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = self.system,
            db.collection.name = COLLECTION,
            db.operation.name = operation,
            peer.service = self.system,
            service.peer.name = self.system,
            error.type = Empty,
        );
        let begun = Instant::now();
        let result = call.instrument(span.clone()).await;
        let error_type = result.as_ref().err().map_or("", error_type);
        if !error_type.is_empty() {
            span.record("error.type", error_type).record("otel.status_code", "ERROR");
        }
        self.calls.observe(COLLECTION, operation, error_type, begun.elapsed(), TraceLabel::of(&span));
        result
    }
}

const fn error_type(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Contended => "contended",
        StoreError::StepKeyTaken => "step_key_taken",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Misconfigured(_) => "misconfigured",
        StoreError::Bug(_) => "bug",
    }
}

#[async_trait]
impl PaymentStore for ObservedStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn claim(&self, record: &Record) -> Result<Claimed, StoreError> {
        self.watched("claim", self.inner.claim(record)).await
    }

    async fn load(&self, key: &StepKey) -> Result<Option<Record>, StoreError> {
        self.watched("load", self.inner.load(key)).await
    }

    async fn find(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        self.watched("find", self.inner.find(id)).await
    }

    async fn swap_with_event(&self, next: &Payment, event: Option<&Outgoing>) -> Result<Swapped, StoreError> {
        self.watched("swap", self.inner.swap_with_event(next, event)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.watched("list", self.inner.list(query)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A processor that is watched.
pub struct ObservedProcessor {
    inner: Arc<dyn PaymentProcessor>,
    durations: DurationFamily<ProcessorLabels>,
}

impl ObservedProcessor {
    /// Watches `inner`.
    pub fn new(inner: Arc<dyn PaymentProcessor>, metrics: &Metrics) -> Self {
        let help = "How long the payment processor took to answer";
        Self { inner, durations: metrics.durations("payment_processor_call_duration_seconds", help) }
    }

    async fn watched<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = T> + Send,
        result_of: fn(&T) -> &'static str,
    ) -> T {
        let span = tracing::info_span!(
            "processor",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = Empty,
            peer.service = PROCESSOR,
            service.peer.name = PROCESSOR,
            result = Empty,
            error.type = Empty,
        );
        // A call that is given up has a duration as well.
        let mut watch = Watch {
            durations: &self.durations,
            span: span.clone(),
            operation,
            begun: Instant::now(),
            result: "given_up",
        };
        let outcome = call.instrument(span).await;
        watch.result = result_of(&outcome);
        outcome
    }
}

/// Whether the outcome of a call is not known.
fn is_failure(result: &str) -> bool {
    matches!(result, "timed_out" | "failed" | "busy" | "given_up")
}

struct Watch<'a> {
    durations: &'a DurationFamily<ProcessorLabels>,
    span: Span,
    operation: &'static str,
    begun: Instant,
    result: &'static str,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.span.record("result", self.result);
        if is_failure(self.result) {
            self.span.record("otel.status_code", "ERROR").record("error.type", self.result);
        }
        let labels = ProcessorLabels {
            service: SERVICE,
            peer_service: PROCESSOR,
            service_peer_name: PROCESSOR,
            operation: self.operation,
            result: self.result,
        };
        let exemplar = TraceLabel::of(&self.span);
        self.durations.get_or_create(&labels).observe(self.begun.elapsed().as_secs_f64(), exemplar, None);
    }
}

#[async_trait]
impl PaymentProcessor for ObservedProcessor {
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome {
        self.watched("charge", self.inner.charge(ask), ChargeOutcome::name).await
    }

    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        self.watched("authorize", self.inner.authorize(ask), AuthorizeOutcome::name).await
    }

    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome {
        self.watched("capture", self.inner.capture(ask), CaptureOutcome::name).await
    }

    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        self.watched("void", self.inner.void(charge), VoidOutcome::name).await
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        self.watched("refund", self.inner.refund(ask), RefundOutcome::name).await
    }
}
