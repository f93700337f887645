//! Configuration of the acquirer, section `acquirer`.

use std::{net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use service_base::config::{ConfigError, SecretUrl, Section};
use service_kit::faults::FaultsConfig;

use crate::{domain::Rules, faults};

/// Shorter secrets can be guessed over a network.
const SECRET_LEN_MIN: usize = 16;

/// Section `acquirer`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener.
    pub http: HttpConfig,
    /// Where the ledger is.
    pub database: DatabaseConfig,
    /// What the merchant shows as `Authorization: Bearer …`, at least 16 characters. Never shown.
    #[serde(skip_serializing)]
    pub secret: SecretString,
    /// How the simulation behaves.
    pub rules: RulesConfig,
    /// Faults injected on purpose. All off by default.
    pub faults: FaultsConfig,
}

/// The listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Requests at work at once, including those whose caller has hung up; more are told to come back.
    pub in_flight_max: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 50054)), in_flight_max: 4096 }
    }
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite://FILE?mode=rwc`.
    pub url: SecretUrl,
    /// How long one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: "sqlite://acquirer.db?mode=rwc".into(), statement_timeout_ms: 3_000 }
    }
}

/// How the simulation behaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Charges of this many minor units or more are declined.
    pub amount_limit_minor: i64,
    /// How long `pm_timeout` hangs, in milliseconds: at most 60000.
    pub hang_ms: u64,
    /// How often `pm_flaky` fails for one charge before it works.
    pub flaky_failures: u32,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { amount_limit_minor: 100_000, hang_ms: 60_000, flaky_failures: 1 }
    }
}

impl Config {
    pub(crate) const fn rules(&self) -> Rules {
        Rules {
            amount_limit_minor: self.rules.amount_limit_minor,
            hang: Duration::from_millis(self.rules.hang_ms),
            flaky_failures: self.rules.flaky_failures,
        }
    }

    pub(crate) fn options(&self) -> amends_sql::Options {
        let statement_timeout = Duration::from_millis(self.database.statement_timeout_ms);
        amends_sql::Options { statement_timeout, ..amends_sql::Options::default() }
    }
}

impl Section for Config {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("ACQUIRER_DELAY_MS", "acquirer.faults.delay_ms"),
        ("ACQUIRER_ERROR_PCT", "acquirer.faults.error_pct"),
        ("ACQUIRER_RATE_LIMIT_PCT", "acquirer.faults.rate_limit_pct"),
    ];

    const RENAMED: &'static [(&'static str, &'static str)] =
        &[("database.operation_timeout_ms", "database.statement_timeout_ms")];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        let Self { http, database, rules, .. } = self;
        check((1..=65_536).contains(&http.in_flight_max), "http.in_flight_max", "must be 1 to 65536");
        check(database.url.expose().starts_with("sqlite:"), "database.url", "must begin with sqlite:");
        check(database.statement_timeout_ms >= 1, "database.statement_timeout_ms", "must be at least 1");
        let secret = self.secret.expose_secret();
        let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
        check(secret.len() >= SECRET_LEN_MIN, "secret", "must be at least 16 characters");
        check(visible, "secret", "must be visible ASCII characters");
        check(rules.amount_limit_minor >= 1, "rules.amount_limit_minor", "must be at least 1");
        check(rules.hang_ms <= 60_000, "rules.hang_ms", "must be at most 60000");
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

    fn keys(config: &Config) -> Vec<String> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        errors.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn the_defaults_lack_nothing_but_a_secret() {
        assert_eq!(keys(&Config::default()), ["secret"]);
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_their_keys() {
        let mut config = Config { secret: "short\n".into(), ..Config::default() };
        config.http.in_flight_max = 0;
        config.database.url = "postgres://x".into();
        config.database.statement_timeout_ms = 0;
        (config.rules.amount_limit_minor, config.rules.hang_ms) = (0, 60_001);
        config.faults.hang_pct = 101;
        config.faults.refuse = vec!["4111 1111".into()];
        config.faults.refuse_commit_skus = vec!["tea".into()];
        let expected = [
            "http.in_flight_max",
            "database.url",
            "database.statement_timeout_ms",
            "secret",
            "secret",
            "rules.amount_limit_minor",
            "rules.hang_ms",
            "faults.hang_pct",
            "faults.refuse[0]",
            "faults.refuse_commit_skus",
        ];
        assert_eq!(keys(&config), expected);
    }

    #[test]
    fn the_secret_is_not_shown_and_faults_have_plain_names() {
        let mut sources = Sources::none().set("acquirer.secret", "hunter2-hunter2-hunter2");
        for (name, value) in
            [("ACQUIRER_DELAY_MS", "300"), ("ACQUIRER_ERROR_PCT", "30"), ("ACQUIRER_RATE_LIMIT_PCT", "50")]
        {
            sources.env.insert(name.to_owned(), value.to_owned());
        }
        let config: Config = load_from("acquirer", &sources).unwrap();
        let wanted = FaultsConfig { delay_ms: 300, error_pct: 30, rate_limit_pct: 50, ..FaultsConfig::default() };
        assert_eq!(config.faults, wanted);
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!service_base::config::defaults::<Config>("acquirer").contains("secret"));
    }
}
