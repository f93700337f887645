//! What is counted.

use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family};

/// The counters. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    logins: Family<LoginLabels, Counter>,
    tokens_issued: Family<GrantLabels, Counter>,
    refresh_reuses: Family<NoLabels, Counter>,
    revocations: Family<NoLabels, Counter>,
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
    pub(crate) fn new(registry: &service_base::metrics::Metrics) -> Self {
        Self {
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
