//! What is counted.

use std::time::Duration;

use amends_primitives::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// The counters. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    logins: Family<LoginLabels, Counter>,
    tokens_issued: Family<GrantLabels, Counter>,
    refresh_reuses: Family<NoLabels, Counter>,
    revocations: Family<NoLabels, Counter>,
    signs_since: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantLabels {
    grant: &'static str,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

impl Metrics {
    /// Registers them.
    pub(crate) fn new(registry: &service_base::metrics::Metrics, rotates_after: Duration) -> Self {
        let rotation: Gauge = registry.get_or_register(
            "identity_signing_key_rotation_seconds",
            "For how long a key signs before the next one does",
            Gauge::default,
        );
        rotation.set(i64::try_from(rotates_after.as_secs()).unwrap_or(i64::MAX));
        Self {
            signs_since: registry.get_or_register(
                "identity_signing_key_active_from_timestamp_seconds",
                "Since when the key signs that signs now; 0 while there is none",
                Gauge::default,
            ),
            logins: registry.counter("logins", "Log-ins by result"),
            tokens_issued: registry.counter("tokens_issued", "Access tokens issued, by grant"),
            refresh_reuses: registry
                .counter("refresh_reuses", "Sessions revoked because an old refresh token was used again"),
            revocations: registry.counter("token_revocations", "Access tokens and sessions revoked"),
        }
    }

    /// A log-in ended so.
    pub(crate) fn login(&self, result: &'static str) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// The key that signs now has done so since then.
    pub(crate) fn signs_since(&self, at: Timestamp) {
        self.signs_since.set(at.as_secs());
    }

    /// A token was issued.
    pub(crate) fn issued(&self, grant: &'static str) {
        self.tokens_issued.get_or_create(&GrantLabels { grant }).inc();
    }

    /// A refresh token was used again.
    pub(crate) fn reused(&self) {
        self.refresh_reuses.get_or_create(&NoLabels {}).inc();
    }

    /// A token or a session was revoked.
    pub(crate) fn revoked(&self) {
        self.revocations.get_or_create(&NoLabels {}).inc();
    }
}
