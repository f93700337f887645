//! What is counted of webhooks, by endpoint: of those there are few, and operators name them.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use service_base::metrics::{DurationFamily, Metrics};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    endpoint: String,
    result: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct WebhookMetrics {
    attempts: Family<AttemptLabels, Counter>,
    durations: DurationFamily<EndpointLabel>,
    delivered: Family<EndpointLabel, Counter>,
    dead: Family<EndpointLabel, Counter>,
    pending_age: Family<EndpointLabel, Gauge>,
}

impl WebhookMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            attempts: metrics.counter("webhook_attempts_total", "Attempts to deliver a webhook, by how they ended"),
            durations: metrics.durations("webhook_attempt_duration_seconds", "How long an endpoint took to answer"),
            delivered: metrics.counter("webhook_delivered_total", "Webhooks that an endpoint has accepted"),
            dead: metrics.counter("webhook_dead_total", "Webhooks that were given up and wait for an operator"),
            pending_age: metrics.gauge(
                "webhook_pending_age_seconds",
                "How long the oldest webhook that is still tried has been tried; 0 where there is none",
            ),
        }
    }

    pub(super) fn attempt(&self, endpoint: &str, result: &'static str, took: Duration) {
        self.attempts.get_or_create(&AttemptLabels { endpoint: endpoint.to_owned(), result }).inc();
        self.durations.get_or_create(&label(endpoint)).observe(took.as_secs_f64(), None, None);
    }

    pub(super) fn delivered(&self, endpoint: &str) {
        self.delivered.get_or_create(&label(endpoint)).inc();
    }

    pub(super) fn dead(&self, endpoint: &str) {
        self.dead.get_or_create(&label(endpoint)).inc();
    }

    pub(super) fn pending_age(&self, endpoint: &str, age: Duration) {
        self.pending_age.get_or_create(&label(endpoint)).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }
}

fn label(endpoint: &str) -> EndpointLabel {
    EndpointLabel { endpoint: endpoint.to_owned() }
}
