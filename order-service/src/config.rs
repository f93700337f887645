//! The configuration of the order service, section `[order]`.

use std::{net::SocketAddr, time::Duration};

use amends_auth::{ServiceTokenConfig, VerifierConfig};
use amends_resilience::{AdmissionConfig, Resilience};
use saga_engine::{Persistence, Policy};
use serde::{Deserialize, Serialize};
use service_base::{
    config::{ConfigError, SecretUrl, Section},
    kv::Redis,
};
use service_kit::{
    database::{DatabaseConfig, Usual},
    grpc::ChannelConfig,
};

/// The whole of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// REST.
    pub http: Listen,
    /// gRPC.
    pub grpc: Listen,
    /// Where orders and sagas are kept.
    pub database: DatabaseConfig<OrderStore>,
    /// The payment service.
    pub payment: ParticipantConfig,
    /// The inventory service.
    pub inventory: ParticipantConfig,
    /// Whose tokens callers must have.
    pub auth: VerifierConfig,
    /// `redis://…` of the revocations that the identity service writes; empty: none are asked for.
    pub redis_url: SecretUrl,
    /// Who we are towards the participants.
    pub service_token: ServiceTokenConfig,
    /// How long callers wait.
    pub wait: WaitConfig,
    /// How sagas are run.
    pub saga: SagaConfig,
    /// When orders and cancellations are refused because they could not be finished in reasonable time.
    pub admission: AdmissionConfig,
    /// What is in flight at most, and what is kept for how long.
    pub limits: LimitsConfig,
}

/// A listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// The database's defaults: shorter than usual, since a caller waits for each statement of its order.
#[derive(Debug, Clone)]
pub enum OrderStore {}

impl Usual for OrderStore {
    const FILE: &'static str = "order.db";
    const CONNECTIONS_MIN: u32 = 2;
    const ACQUIRE_TIMEOUT_MS: u64 = 1_000;
    const STATEMENT_TIMEOUT_MS: u64 = 2_000;
}

/// A participant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParticipantConfig {
    /// Where it is.
    pub channel: ChannelConfig,
    /// How it is called. `attempts` is of reads; a saga step's attempts are the saga's.
    pub resilience: Resilience,
}

/// How long callers wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WaitConfig {
    /// Milliseconds for the end of the saga, unless the caller says otherwise.
    pub default_ms: u64,
    /// Milliseconds for the end of the saga at the most, whatever the caller says.
    pub max_ms: u64,
    /// Milliseconds for everything else, such as being accepted.
    pub accept_ms: u64,
}

/// How sagas are run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SagaConfig {
    /// Milliseconds one attempt of a step may take.
    pub attempt_timeout_ms: u64,
    /// Attempts of a step before, or at, the pivot.
    pub attempts_max: u32,
    /// Seconds an order may take until its pivot is done; past that it is undone.
    pub deadline_secs: u64,
    /// Attempts of a compensation, or of a step after the pivot, that are answered by what asking again does not change, before the saga
    /// is parked and a human is told. A participant that is away, slow or protects itself parks nothing, however long.
    pub attempts_before_parking: u32,
    /// Sagas in memory at the same time.
    pub active_max: usize,
    /// Milliseconds between two heartbeats of this replica.
    pub heartbeat_ms: u64,
    /// Milliseconds without one after which others take its sagas over. What it exceeds a heartbeat by is how long a transaction of
    /// this service may be left idle on PostgreSQL, 1.5 s at the most.
    pub lease_ms: u64,
    /// Seconds for sagas to settle at shutdown, once every request is answered; the rest are handed over. What a saga then still waits for
    /// is a participant that does not answer, and other replicas wait for that as well.
    pub drain_secs: u64,
    /// Days that sagas are kept after they finished, for their timelines; 0 keeps them for ever.
    pub kept_days: u64,
}

/// What is in flight at most, and what is kept for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Callers who wait while orders are placed or cancelled, in the queue or not. A quarter of them can only be those who repeat what was
    /// let in before; how much new work there is at once follows from `admission`, within the rest.
    pub waiting_max: usize,
    /// Streams of changes.
    pub watches_max: usize,
    /// Seconds a stream of changes may last.
    pub watch_secs_max: u64,
    /// Hours an idempotency key is kept at least.
    pub idempotency_hours: u64,
    /// Hours an outbox row is kept.
    pub outbox_hours: u64,
    /// Seconds between two sweeps of what is past its time.
    pub sweep_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: Listen { listen: SocketAddr::from(([127, 0, 0, 1], 8082)) },
            grpc: Listen { listen: SocketAddr::from(([127, 0, 0, 1], 50051)) },
            database: DatabaseConfig::default(),
            payment: ParticipantConfig {
                channel: ChannelConfig::at("http://127.0.0.1:50052"),
                resilience: Resilience::default(),
            },
            inventory: ParticipantConfig {
                channel: ChannelConfig::at("http://127.0.0.1:50053"),
                resilience: Resilience::default(),
            },
            auth: VerifierConfig::default(),
            redis_url: SecretUrl::default(),
            service_token: ServiceTokenConfig {
                client_id: "order-service".to_owned(),
                scope: "payments:write payments:read inventory:write inventory:read items:read".to_owned(),
                ..ServiceTokenConfig::default()
            },
            wait: WaitConfig::default(),
            saga: SagaConfig::default(),
            admission: AdmissionConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

impl Default for WaitConfig {
    fn default() -> Self {
        Self { default_ms: 5_000, max_ms: 60_000, accept_ms: 4_000 }
    }
}

impl Default for SagaConfig {
    fn default() -> Self {
        Self {
            attempt_timeout_ms: 500,
            attempts_max: 3,
            deadline_secs: 30,
            attempts_before_parking: 40,
            active_max: 4096,
            heartbeat_ms: 1_200,
            lease_ms: 2_700,
            drain_secs: 2,
            kept_days: 90,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            waiting_max: 1024,
            watches_max: 256,
            watch_secs_max: 600,
            idempotency_hours: 7 * 24,
            outbox_hours: 7 * 24,
            sweep_secs: 60,
        }
    }
}

impl Section for Config {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        ConfigError::within("auth", errors, |errors| self.auth.validate(errors));
        ConfigError::within("service_token", errors, |errors| self.service_token.validate(errors));
        ConfigError::within("payment.channel", errors, |errors| self.payment.channel.validate(errors));
        ConfigError::within("inventory.channel", errors, |errors| self.inventory.channel.validate(errors));
        ConfigError::within("payment.resilience", errors, |errors| self.payment.resilience.validate(errors));
        ConfigError::within("inventory.resilience", errors, |errors| self.inventory.resilience.validate(errors));
        ConfigError::within("admission", errors, |errors| self.admission.validate(errors));
        Redis::check(&self.redis_url, errors);
        self.database.validate(errors);
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        for (participant, key) in [
            (&self.payment, "payment.channel.connect_timeout_ms"),
            (&self.inventory, "inventory.channel.connect_timeout_ms"),
        ] {
            let connect = Duration::from_millis(participant.channel.connect_timeout_ms);
            let is_heard = connect < participant.resilience.attempt_max();
            check(is_heard, key, "must be less than an attempt's resilience.timeout_ms");
        }
        check(self.wait.max_ms >= self.wait.default_ms, "wait.max_ms", "must not be below wait.default_ms");
        check(self.wait.accept_ms > 0, "wait.accept_ms", "must be at least 1");
        let saga = &self.saga;
        check(saga.attempt_timeout_ms > 0, "saga.attempt_timeout_ms", "must be at least 1");
        check((1..=10).contains(&saga.attempts_max), "saga.attempts_max", "must be from 1 to 10");
        check(saga.deadline_secs > 0, "saga.deadline_secs", "must be at least 1");
        check(saga.attempts_before_parking > 0, "saga.attempts_before_parking", "must be at least 1");
        check(saga.kept_days <= 36_500, "saga.kept_days", "must be at most 36500");
        check(saga.active_max > 0, "saga.active_max", "must be at least 1");
        check(saga.heartbeat_ms > 0, "saga.heartbeat_ms", "must be at least 1");
        check(saga.lease_ms > 2 * saga.heartbeat_ms, "saga.lease_ms", "must be more than two heartbeats");
        check(self.limits.waiting_max > 0, "limits.waiting_max", "must be at least 1");
        check(self.limits.watches_max > 0, "limits.watches_max", "must be at least 1");
        check(self.limits.idempotency_hours >= 24, "limits.idempotency_hours", "must be at least 24");
        check(self.limits.outbox_hours > 0, "limits.outbox_hours", "must be at least 1");
        check(self.limits.sweep_secs > 0, "limits.sweep_secs", "must be at least 1");
    }
}

impl Config {
    /// How long a participant is waited for at the most before an attempt is given up.
    pub fn attempt_max(&self) -> Duration {
        let of_steps = Duration::from_millis(self.saga.attempt_timeout_ms);
        of_steps.min(self.payment.resilience.attempt_max()).min(self.inventory.resilience.attempt_max())
    }

    /// As the store takes it.
    pub fn database_options(&self) -> amends_sql::Options {
        let usual = self.database.options();
        // What a replica that is frozen has locked is free when its lease ends, of which at least this much is left.
        let left_of_lease = Duration::from_millis(self.saga.lease_ms.saturating_sub(self.saga.heartbeat_ms));
        amends_sql::Options {
            idle_in_transaction_timeout: usual.idle_in_transaction_timeout.min(left_of_lease),
            ..usual
        }
    }
}

impl SagaConfig {
    /// The limits of one step. The engine waits a little longer than the guard, so that it is the guard that says "no answer in time",
    /// counts it, and opens the breaker.
    pub fn policy(&self) -> Policy {
        let persistence =
            Persistence { attempts_before_parking: self.attempts_before_parking, ..Persistence::default() };
        Policy::default()
            .timeout(Duration::from_millis(self.attempt_timeout_ms.saturating_add(100)))
            .attempts(self.attempts_max)
            .persistence(persistence)
    }

    /// The engine's limits.
    pub fn engine(&self) -> saga_engine::Config {
        saga_engine::Config {
            sagas_max: self.active_max,
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            lease: Duration::from_millis(self.lease_ms),
            retention: (self.kept_days > 0).then(|| Duration::from_hours(24 * self.kept_days)),
            ..saga_engine::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lack_nothing_but_a_secret() {
        let mut errors = Vec::new();
        Config::default().validate(&mut errors);
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["service_token.client_secret"]);
    }

    #[test]
    fn a_connection_is_made_in_less_than_an_attempt() {
        let mut config = Config::default();
        config.payment.resilience.timeout_ms = config.payment.channel.connect_timeout_ms;
        let mut errors = Vec::new();
        config.validate(&mut errors);
        assert!(errors.iter().any(|error| error.key == "payment.channel.connect_timeout_ms"), "{errors:?}");
    }

    #[test]
    fn what_a_frozen_replica_has_locked_is_free_when_its_lease_ends() {
        let mut config = Config::default();
        (config.saga.heartbeat_ms, config.saga.lease_ms) = (200, 700);
        assert_eq!(config.database_options().idle_in_transaction_timeout, Duration::from_millis(500));
        config.saga.lease_ms = 60_000;
        assert_eq!(config.database_options().idle_in_transaction_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = Config::default();
        config.database.url = "postgres://u:hunter2@db/orders".into();
        config.redis_url = "redis://:hunter2@r".into();
        config.service_token.client_secret = "hunter2".into();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
    }
}
