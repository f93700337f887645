//! Configuration of the payment service, section `payment`.

use std::{fmt, net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use service_kit::{
    auth::VerifierConfig,
    config::{ConfigError, Section},
    faults::FaultsConfig,
};

use crate::{faults, processor::simulated::Rules, store::mongo::MongoOptions, webhooks::config::WebhooksConfig};

/// A caller waits this long for a server at the most: the orchestrator has given up by then.
const SERVER_SELECTION_MS_MAX: u64 = 2_000;

/// A URL that may hold a password. Neither `Debug` nor serialisation shows it.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The URL itself. Look twice at where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    pub(crate) const fn secret(&self) -> &SecretString {
        &self.0
    }

    /// The URL, unless there could be a password in it.
    fn shown(&self) -> &str {
        if self.expose().contains('@') { "(secret)" } else { self.expose() }
    }
}

impl From<&str> for SecretUrl {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// Section `payment`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener.
    pub grpc: GrpcConfig,
    /// Where payments are.
    pub database: DatabaseConfig,
    /// Who moves the money.
    pub processor: ProcessorConfig,
    /// `redis://…`, where the token service tells which tokens were revoked. Empty: nobody is asked.
    pub redis_url: SecretUrl,
    /// Whose tokens are accepted.
    pub auth: VerifierConfig,
    /// Faults injected on purpose. All off by default.
    pub faults: FaultsConfig,
    /// Who is told what became of payments. Nobody by default.
    pub webhooks: WebhooksConfig,
}

/// The listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Calls that may change something at once; more are told to come back. Beyond this, waiting for the store takes longer
    /// than callers wait.
    pub in_flight_max: u32,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 50052)), in_flight_max: 512 }
    }
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `mongodb://…`, `mongodb+srv://…`, or `sqlite://FILE?mode=rwc`.
    pub url: SecretUrl,
    /// The database's name, where it is MongoDB.
    pub name: String,
    /// Connections at the most.
    pub connections_max: u32,
    /// How long a call waits for a server or a connection, in milliseconds: at most 2000.
    pub server_selection_timeout_ms: u64,
    /// How long one call may take, in milliseconds.
    pub operation_timeout_ms: u64,
    /// How long to wait at start for a database that is not up yet, in seconds.
    pub start_patience_secs: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: "mongodb://127.0.0.1:27017".into(),
            name: "amends_payments".to_owned(),
            connections_max: 32,
            server_selection_timeout_ms: SERVER_SELECTION_MS_MAX,
            operation_timeout_ms: 3_000,
            start_patience_secs: 30,
        }
    }
}

/// The processor, which is simulated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessorConfig {
    /// How long it may take to answer, in milliseconds; then nobody knows. Within the 500 ms that the orchestrator grants an
    /// attempt, so that the answer is "unknown" rather than none.
    pub timeout_ms: u64,
    /// Charges of this many minor units or more are declined.
    pub amount_limit_minor: i64,
    /// How long `pm_timeout` hangs, in milliseconds.
    pub hang_ms: u64,
    /// How often `pm_flaky` fails for one charge before it works.
    pub flaky_failures: u32,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self { timeout_ms: 450, amount_limit_minor: 100_000, hang_ms: 60_000, flaky_failures: 1 }
    }
}

impl ProcessorConfig {
    pub(crate) const fn rules(&self) -> Rules {
        Rules {
            amount_limit_minor: self.amount_limit_minor,
            hang: Duration::from_millis(self.hang_ms),
            flaky_failures: self.flaky_failures,
        }
    }

    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl DatabaseConfig {
    /// Whether it is MongoDB.
    pub fn is_mongo(&self) -> bool {
        ["mongodb://", "mongodb+srv://"].iter().any(|scheme| self.url.expose().starts_with(scheme))
    }

    pub(crate) const fn mongo_options(&self) -> MongoOptions {
        MongoOptions {
            connections_max: self.connections_max,
            server_selection_timeout: Duration::from_millis(self.server_selection_timeout_ms),
            operation_timeout: Duration::from_millis(self.operation_timeout_ms),
        }
    }

    pub(crate) const fn sqlite_options(&self) -> amends_sql::Options {
        amends_sql::Options {
            connections_max: self.connections_max,
            acquire_timeout: Duration::from_millis(self.server_selection_timeout_ms),
            statement_timeout: Duration::from_millis(self.operation_timeout_ms),
        }
    }
}

impl Section for Config {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("PAYMENT_DELAY_MS", "payment.faults.delay_ms"),
        ("PAYMENT_ERROR_PCT", "payment.faults.error_pct"),
        ("RATE_LIMIT_PCT", "payment.faults.rate_limit_pct"),
    ];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| {
            if !good {
                errors.push(ConfigError::new(key, message));
            }
        };
        let Self { grpc, database, processor, .. } = self;
        check((1..=65_536).contains(&grpc.in_flight_max), "grpc.in_flight_max", "must be 1 to 65536");
        let known = database.is_mongo() || database.url.expose().starts_with("sqlite:");
        check(known, "database.url", "must begin with mongodb://, mongodb+srv:// or sqlite:");
        // What MongoDB forbids in the name of a database.
        let forbidden =
            |char: char| matches!(char, '/' | '\\' | '.' | ' ' | '"' | '$' | '*' | '<' | '>' | ':' | '|' | '?' | '\0');
        let name_is_good = (1..=63).contains(&database.name.len()) && !database.name.contains(forbidden);
        check(name_is_good, "database.name", "must be 1 to 63 bytes without any of /\\. \"$*<>:|?");
        check(database.connections_max >= 1, "database.connections_max", "must be at least 1");
        let selection = (1..=SERVER_SELECTION_MS_MAX).contains(&database.server_selection_timeout_ms);
        check(selection, "database.server_selection_timeout_ms", "must be 1 to 2000");
        check(database.operation_timeout_ms >= 1, "database.operation_timeout_ms", "must be at least 1");
        check((1..=30_000).contains(&processor.timeout_ms), "processor.timeout_ms", "must be 1 to 30000");
        check(processor.amount_limit_minor >= 1, "processor.amount_limit_minor", "must be at least 1");
        let redis = self.redis_url.expose();
        let is_redis = ["redis://", "rediss://"].iter().any(|scheme| redis.starts_with(scheme));
        check(redis.is_empty() || is_redis, "redis_url", "must begin with redis:// or rediss://, or be empty");
        let mut within = |prefix: &str, section: &dyn Fn(&mut Vec<ConfigError>)| {
            let mut wrong = Vec::new();
            section(&mut wrong);
            errors.extend(
                wrong.into_iter().map(|error| ConfigError::new(format!("{prefix}.{}", error.key), error.message)),
            );
        };
        within("auth", &|wrong| self.auth.validate(wrong));
        within("webhooks", &|wrong| self.webhooks.validate(wrong));
        within("faults", &|wrong| {
            self.faults.validate(wrong);
            faults::check(&self.faults, wrong);
        });
    }
}

#[cfg(test)]
mod tests {
    use service_kit::config::{Sources, load_from};

    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let mut errors = Vec::new();
        Config::default().validate(&mut errors);
        assert_eq!(errors, []);
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_their_keys() {
        let mut config = Config { redis_url: "http://x".into(), ..Config::default() };
        config.grpc.in_flight_max = 0;
        config.database.url = "mysql://root:hunter2@db".into();
        config.database.name = "a.b".into();
        config.database.server_selection_timeout_ms = 2_001;
        config.processor.timeout_ms = 0;
        config.processor.amount_limit_minor = 0;
        config.auth.issuer = String::new();
        config.faults.error_pct = 101;
        config.webhooks.kept_days = 0;
        config.faults.refuse = vec!["pm_ok".into(), "4111 1111".into()];
        config.faults.refuse_commit_skus = vec!["tea".into()];
        let mut errors = Vec::new();
        config.validate(&mut errors);
        let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "grpc.in_flight_max",
                "database.url",
                "database.name",
                "database.server_selection_timeout_ms",
                "processor.timeout_ms",
                "processor.amount_limit_minor",
                "redis_url",
                "auth.issuer",
                "webhooks.kept_days",
                "faults.error_pct",
                "faults.refuse[1]",
                "faults.refuse_commit_skus"
            ]
        );
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn faults_have_plain_names_in_the_environment() {
        let mut sources = Sources::none();
        for (name, value) in [("PAYMENT_DELAY_MS", "300"), ("PAYMENT_ERROR_PCT", "30"), ("RATE_LIMIT_PCT", "50")] {
            sources.env.insert(name.to_owned(), value.to_owned());
        }
        let config: Config = load_from("payment", &sources).unwrap();
        let wanted = FaultsConfig { delay_ms: 300, error_pct: 30, rate_limit_pct: 50, ..FaultsConfig::default() };
        assert_eq!(config.faults, wanted);
    }
}
