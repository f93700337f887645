//! Configuration of the payment service, section `payment`.

use std::{net::SocketAddr, time::Duration};

use acquirer::domain::Rules;
use amends_auth::VerifierConfig;
use amends_sql::{SqlError, claim::sqlite_file, sqlite_url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use service_base::{
    client::ProxyUrl,
    config::{ConfigError, SecretUrl, Section},
    kv::Redis,
};
use service_kit::faults::FaultsConfig;

use crate::events::EventType;
use crate::{faults, store::mongo::MongoOptions};
use amends_webhooks::config::WebhooksConfig;

/// The service's name, in logs, spans and metrics.
pub const SERVICE: &str = "payment-service";

/// A caller waits this long for a server at the most: the orchestrator has given up by then.
const SERVER_SELECTION_MS_MAX: u64 = 2_000;

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
    /// `redis://…`, where the token service tells which tokens were revoked. Empty: revocations are not checked.
    pub redis_url: SecretUrl,
    /// Whose tokens are accepted.
    pub auth: VerifierConfig,
    /// Faults injected on purpose. All off by default.
    pub faults: FaultsConfig,
    /// Who is told what became of payments. No endpoint by default.
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
    pub acquire_timeout_ms: u64,
    /// How long one call may take, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long to wait at start for a database that is not up yet, in seconds.
    pub start_patience_secs: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: "mongodb://127.0.0.1:27017".into(),
            name: "amends_payments".to_owned(),
            connections_max: 32,
            acquire_timeout_ms: SERVER_SELECTION_MS_MAX,
            statement_timeout_ms: 3_000,
            start_patience_secs: 30,
        }
    }
}

/// Where the processor is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessorKind {
    /// Simulated in this process.
    #[default]
    Simulated,
    /// An acquirer over HTTP.
    Http,
}

/// The processor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessorConfig {
    /// `simulated`: in this process. `http`: an acquirer elsewhere, see `processor.http`.
    pub kind: ProcessorKind,
    /// Where the simulated acquirer keeps its books: `sqlite://FILE?mode=rwc`, a file of one process. Empty: beside a SQLite store
    /// `NAME.db` in `NAME-acquirer.db`; with MongoDB in `payment-acquirer.db` in the working directory.
    pub ledger_url: String,
    /// How long it may take to answer, in milliseconds; then the outcome is in doubt. Within the 500 ms that the orchestrator grants an
    /// attempt, so that the answer is "unknown" rather than none.
    pub timeout_ms: u64,
    /// Charges of this many minor units or more are declined. This and the two below are of the simulation; an acquirer has its own.
    pub amount_limit_minor: i64,
    /// How long `pm_timeout` hangs, in milliseconds.
    pub hang_ms: u64,
    /// How often `pm_flaky` fails for one charge before it works.
    pub flaky_failures: u32,
    /// The acquirer, where `processor.kind` is `http`.
    pub http: HttpProcessorConfig,
}

/// An acquirer over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpProcessorConfig {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// What it knows us by. Never shown.
    #[serde(skip_serializing)]
    pub secret: SecretString,
    /// `http://[user:password@]host:port` of a proxy on the way there. Empty: none, whatever the environment says. Shown without the
    /// password.
    pub proxy_url: ProxyUrl,
    /// How long a connection may take to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long one attempt may take, in milliseconds; all of them together take `processor.timeout_ms` at the most.
    pub attempt_timeout_ms: u64,
    /// How often one question is asked, all with the same key, before its outcome is unknown.
    pub attempts_max: u32,
    /// Connections that are kept while nothing is asked.
    pub idle_connections_max: usize,
}

impl Default for HttpProcessorConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:50054".to_owned(),
            secret: SecretString::default(),
            proxy_url: ProxyUrl::default(),
            connect_timeout_ms: 200,
            attempt_timeout_ms: 400,
            attempts_max: 3,
            idle_connections_max: 64,
        }
    }
}

impl HttpProcessorConfig {
    /// The URL, where it is one of a host and nothing more: paths are the interface's, and a password would be shown in logs.
    pub(crate) fn base_url(&self) -> Option<reqwest::Url> {
        let url = reqwest::Url::parse(&self.url).ok()?;
        let plain = ["http", "https"].contains(&url.scheme())
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.path() == "/"
            && (url.username(), url.password(), url.query(), url.fragment()) == ("", None, None, None);
        plain.then_some(url)
    }
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            kind: ProcessorKind::Simulated,
            ledger_url: String::new(),
            timeout_ms: 450,
            amount_limit_minor: 100_000,
            hang_ms: 60_000,
            flaky_failures: 1,
            http: HttpProcessorConfig::default(),
        }
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

impl Config {
    /// Where the simulated acquirer keeps its books.
    ///
    /// # Errors
    /// When the path of the payments' file is not UTF-8.
    pub fn ledger_url(&self) -> Result<String, SqlError> {
        let configured = &self.processor.ledger_url;
        if !configured.is_empty() {
            return Ok(configured.clone());
        }
        let payments = sqlite_file(self.database.url.expose()).unwrap_or_else(|| "payment.db".into());
        let name = payments.file_stem().unwrap_or_default().to_string_lossy();
        sqlite_url(&payments.with_file_name(format!("{name}-acquirer.db")))
    }

    pub(crate) fn ledger_options(&self) -> amends_sql::Options {
        self.database.sqlite_options()
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
            server_selection_timeout: Duration::from_millis(self.acquire_timeout_ms),
            operation_timeout: Duration::from_millis(self.statement_timeout_ms),
        }
    }

    pub(crate) fn sqlite_options(&self) -> amends_sql::Options {
        amends_sql::Options {
            connections_max: self.connections_max,
            acquire_timeout: Duration::from_millis(self.acquire_timeout_ms),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
            ..amends_sql::Options::default()
        }
    }
}

impl Section for Config {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("PAYMENT_DELAY_MS", "payment.faults.delay_ms"),
        ("PAYMENT_ERROR_PCT", "payment.faults.error_pct"),
        ("RATE_LIMIT_PCT", "payment.faults.rate_limit_pct"),
    ];

    /// Called by MongoDB's names where the other services' stores had these.
    const RENAMED: &'static [(&'static str, &'static str)] = &[
        ("database.server_selection_timeout_ms", "database.acquire_timeout_ms"),
        ("database.operation_timeout_ms", "database.statement_timeout_ms"),
    ];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
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
        let selection = (1..=SERVER_SELECTION_MS_MAX).contains(&database.acquire_timeout_ms);
        check(selection, "database.acquire_timeout_ms", "must be 1 to 2000");
        check(database.statement_timeout_ms >= 1, "database.statement_timeout_ms", "must be at least 1");
        check((1..=30_000).contains(&processor.timeout_ms), "processor.timeout_ms", "must be 1 to 30000");
        check(processor.amount_limit_minor >= 1, "processor.amount_limit_minor", "must be at least 1");
        let ledger = &processor.ledger_url;
        let is_file = ledger.is_empty() || ledger.starts_with("sqlite:");
        check(is_file, "processor.ledger_url", "must begin with sqlite:, or be empty");
        if processor.kind == ProcessorKind::Http {
            let http = &processor.http;
            let url = "must be http://host[:port] or https://host[:port], and nothing more";
            check(http.base_url().is_some(), "processor.http.url", url);
            let secret = http.secret.expose_secret();
            let sendable = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
            check(sendable, "processor.http.secret", "must be visible ASCII characters, at least one");
            let proxy = http.proxy_url.check();
            check(
                proxy.is_ok(),
                "processor.http.proxy_url",
                &proxy.err().map_or_else(String::new, |bad| bad.to_string()),
            );
            check(http.connect_timeout_ms >= 1, "processor.http.connect_timeout_ms", "must be at least 1");
            check(http.attempt_timeout_ms >= 1, "processor.http.attempt_timeout_ms", "must be at least 1");
            check((1..=10).contains(&http.attempts_max), "processor.http.attempts_max", "must be 1 to 10");
            let refusing = "payment methods are declined by the acquirer: see acquirer.faults.refuse";
            check(self.faults.refuse.is_empty(), "faults.refuse", refusing);
        }
        Redis::check(&self.redis_url, errors);
        ConfigError::within("auth", errors, |errors| self.auth.validate(errors));
        ConfigError::within("webhooks", errors, |errors| {
            self.webhooks.validate(errors);
            self.webhooks.validate_events(&EventType::KINDS, errors);
        });
        ConfigError::within("faults", errors, |errors| {
            self.faults.validate(errors);
            faults::check(&self.faults, errors);
        });
    }
}

#[cfg(test)]
mod tests {
    use service_base::config::{Sources, load_from};

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
        config.database.acquire_timeout_ms = 2_001;
        config.processor.timeout_ms = 0;
        config.processor.amount_limit_minor = 0;
        config.processor.ledger_url = "mongodb://x".into();
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
                "database.acquire_timeout_ms",
                "processor.timeout_ms",
                "processor.amount_limit_minor",
                "processor.ledger_url",
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
    fn an_http_acquirer_needs_a_plain_url_and_a_hidden_secret() {
        let sources = Sources::none().set("payment.processor.kind", "http");
        let error = load_from::<Config>("payment", &sources).unwrap_err();
        assert_eq!(
            error.0.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(),
            ["payment.processor.http.secret"]
        );
        let sources = sources.set("payment.processor.http.secret", "hunter2-hunter2");
        let good: Config = load_from("payment", &sources).unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&good).unwrap().contains("hunter2"));
        for bad in ["", "acquirer:50054", "ftp://a", "http://a/v1", "http://a?x=1", "http://u:p@a", "http://a#x"] {
            let mut config = good.clone();
            config.processor.http.url = bad.into();
            config.processor.http.attempts_max = 0;
            config.faults.refuse = vec!["pm_ok".into()];
            let mut errors = Vec::new();
            config.validate(&mut errors);
            let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
            assert_eq!(keys, ["processor.http.url", "processor.http.attempts_max", "faults.refuse"], "{bad}");
        }
    }

    #[test]
    fn books_are_beside_the_payments_unless_named() {
        let mut config = Config::default();
        assert_eq!(config.ledger_url().unwrap(), "sqlite:./payment-acquirer.db?mode=rwc");
        config.database.url = "sqlite:///data/shop.db?mode=rwc".into();
        assert_eq!(config.ledger_url().unwrap(), "sqlite:///data/shop-acquirer.db?mode=rwc");
        config.processor.ledger_url = "sqlite:///data/acquirer.db?mode=rwc".to_owned();
        assert_eq!(config.ledger_url().unwrap(), config.processor.ledger_url);
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
