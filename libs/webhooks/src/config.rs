//! A service's section `webhooks`: its endpoints, and how often and how long delivery is tried.
//!
//! Must not know: how it is told.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_base::{
    client::ProxyUrl,
    config::{ConfigError, Section},
};

use super::{
    event::EventKind,
    signature::{InvalidSecret, SigningKey},
};

/// More belong behind an event broker.
const ENDPOINTS_MAX: usize = 32;
/// One that is used, and those that it replaces.
const SECRETS_MAX: usize = 4;
const NAME_LEN_MAX: usize = 64;

/// A section `webhooks`, as `payment.webhooks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Who is told of what happens. Empty: no endpoint, and nothing is stored.
    pub endpoints: Vec<EndpointConfig>,
    /// Whether `http://` is allowed also to other machines. Off: what is sent can be read on its way.
    pub allow_http: bool,
    /// `http://[user:password@]host:port` of a proxy on the way to all of them. Empty: none, whatever the environment says. Shown
    /// without the password.
    pub proxy_url: ProxyUrl,
    /// How long an endpoint may take to answer, in milliseconds.
    pub attempt_timeout_ms: u64,
    /// Attempts at once, for each endpoint.
    pub concurrency: u32,
    /// The longest wait after a first failure, in milliseconds; doubled for each one that follows.
    pub retry_base_ms: u64,
    /// The longest wait between two attempts, in seconds.
    pub retry_max_secs: u64,
    /// For how long it is tried before a delivery is dead, in hours.
    pub give_up_after_hours: u64,
    /// For how long what is delivered or dead can be seen and redelivered, in days.
    pub kept_days: u64,
    /// How often to look for what other replicas and operators left, in seconds. What happens here is told at once.
    pub sweep_secs: u64,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            allow_http: false,
            proxy_url: ProxyUrl::default(),
            attempt_timeout_ms: 15_000,
            concurrency: 4,
            retry_base_ms: 5_000,
            retry_max_secs: 3 * 3600,
            give_up_after_hours: 72,
            kept_days: 30,
            sweep_secs: 30,
        }
    }
}

/// One receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// What operators call it: 1 to 64 of `[a-z0-9_-]`. Deliveries are kept under it.
    pub name: String,
    /// Where it listens.
    pub url: EndpointUrl,
    /// `whsec_…`: each signs. Several while one replaces another. Never shown.
    #[serde(skip_serializing, deserialize_with = "one_or_more")]
    pub secrets: Vec<SecretString>,
    /// Of what it is told. Empty: of everything.
    pub events: Vec<EventKind>,
    /// Whether it is told at all.
    pub enabled: bool,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: EndpointUrl::default(),
            secrets: Vec::new(),
            events: Vec::new(),
            enabled: true,
        }
    }
}

/// A URL whose path may be a secret: many receivers have nothing else. Neither `Debug` nor serialisation shows more than its origin.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct EndpointUrl(SecretString);

impl EndpointUrl {
    pub(super) fn parse(&self) -> Option<Url> {
        Url::parse(self.0.expose_secret()).ok()
    }

    fn shown(&self) -> String {
        self.parse().map_or_else(String::new, |url| url.origin().ascii_serialization())
    }
}

service_base::shown_in_part!(EndpointUrl);

/// A text or a list of them. Written by hand, because the usual messages repeat what they were given.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretString>, D::Error> {
    use serde_json::Value;
    let wrong = || D::Error::custom("must be a text or a list of texts");
    let text = |value: Value| match value {
        Value::String(text) => Ok(SecretString::from(text)),
        _ => Err(wrong()),
    };
    match Value::deserialize(deserializer).map_err(|_| wrong())? {
        Value::Array(all) => all.into_iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

impl EndpointConfig {
    /// Whether it is told of such.
    pub(super) fn wants(&self, kind: &EventKind) -> bool {
        self.enabled && (self.events.is_empty() || self.events.contains(kind))
    }

    pub(super) fn keys(&self) -> Result<Vec<SigningKey>, InvalidSecret> {
        self.secrets.iter().map(|secret| SigningKey::parse(secret.expose_secret())).collect()
    }

    fn validate(&self, allow_http: bool, mut check: impl FnMut(bool, &str, &str)) {
        let in_alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let named = (1..=NAME_LEN_MAX).contains(&self.name.len()) && self.name.bytes().all(in_alphabet);
        check(named, "name", "must be 1 to 64 characters of [a-z0-9_-]");
        match self.url.parse() {
            None => check(false, "url", "must be a URL"),
            Some(url) => {
                let known = matches!(url.scheme(), "http" | "https") && url.has_host();
                check(known, "url", "must begin with https:// or http:// and a host");
                let protected = url.scheme() != "http" || allow_http || is_loopback(&url);
                check(protected, "url", "http:// is for this machine alone, unless webhooks.allow_http is on");
                let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
                check(bare, "url", "must not hold a user, a password or a fragment");
            }
        }
        let some = (1..=SECRETS_MAX).contains(&self.secrets.len());
        check(some, "secrets", "must be 1 to 4 secrets");
        check(self.keys().is_ok(), "secrets", &InvalidSecret.to_string());
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl WebhooksConfig {
    pub(super) const fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }

    pub(super) const fn sweep(&self) -> Duration {
        Duration::from_secs(self.sweep_secs)
    }

    pub(super) const fn give_up_after(&self) -> Duration {
        Duration::from_secs(self.give_up_after_hours.saturating_mul(3600))
    }

    pub(super) const fn kept(&self) -> Duration {
        Duration::from_secs(self.kept_days.saturating_mul(24 * 3600))
    }

    /// Finds events that are asked for and do not happen here, which are `known`.
    pub fn validate_events(&self, known: &[EventKind], errors: &mut Vec<ConfigError>) {
        let names: Vec<&str> = known.iter().map(EventKind::name).collect();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            for (at, _) in endpoint.events.iter().enumerate().filter(|(_, kind)| !known.contains(kind)) {
                let key = format!("endpoints[{index}].events[{at}]");
                errors.push(ConfigError::new(key, format!("must be one of {}", names.join(", "))));
            }
        }
    }

    /// Those that are told of anything.
    pub fn enabled(&self) -> impl Iterator<Item = &EndpointConfig> {
        self.endpoints.iter().filter(|endpoint| endpoint.enabled)
    }
}

impl Section for WebhooksConfig {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check(self.endpoints.len() <= ENDPOINTS_MAX, "endpoints", "must be 32 at the most");
        let mut names = BTreeSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let of = |field: &str| format!("endpoints[{index}].{field}");
            endpoint.validate(self.allow_http, |good, field, message| check(good, &of(field), message));
            check(names.insert(&endpoint.name), &of("name"), "is the name of another endpoint");
        }
        if let Err(error) = self.proxy_url.check() {
            check(false, "proxy_url", &error.to_string());
        }
        let bounded = |value: u64, min: u64, max: u64| (min..=max).contains(&value);
        check(bounded(self.attempt_timeout_ms, 100, 60_000), "attempt_timeout_ms", "must be 100 to 60000");
        check((1..=64).contains(&self.concurrency), "concurrency", "must be 1 to 64");
        check(bounded(self.retry_base_ms, 100, 3_600_000), "retry_base_ms", "must be 100 to 3600000");
        check(bounded(self.retry_max_secs, 1, 86_400), "retry_max_secs", "must be 1 to 86400");
        check(bounded(self.give_up_after_hours, 1, 720), "give_up_after_hours", "must be 1 to 720");
        check(bounded(self.kept_days, 1, 3650), "kept_days", "must be 1 to 3650");
        check(bounded(self.sweep_secs, 1, 3600), "sweep_secs", "must be 1 to 3600");
    }
}

#[cfg(test)]
mod tests {
    use service_base::config::{Sources, load_from};

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn endpoint(name: &str, url: &str) -> EndpointConfig {
        let secrets = vec![SECRET.to_owned().into()];
        EndpointConfig { name: name.into(), url: url.into(), secrets, ..EndpointConfig::default() }
    }

    fn mistakes(config: &WebhooksConfig) -> Vec<String> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        errors.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn no_endpoint_is_told_by_default() {
        let config = WebhooksConfig::default();
        assert_eq!((mistakes(&config), config.enabled().count()), (Vec::new(), 0));
        let off = EndpointConfig { enabled: false, ..endpoint("shop", "https://shop.example/hook") };
        assert!(!off.wants(&EventKind::new("payment.captured")));
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_their_keys() {
        let config = WebhooksConfig {
            endpoints: vec![
                endpoint("shop", "https://shop.example/hook"),
                endpoint("shop", "http://shop.example/hook"),
                endpoint("Shop!", "not a url"),
                endpoint("user", "https://user:hunter2@shop.example/"),
                endpoint("other", "ftp://shop.example/"),
                EndpointConfig { secrets: Vec::new(), ..endpoint("none", "https://shop.example/") },
                EndpointConfig {
                    secrets: vec!["hunter2".to_owned().into()],
                    ..endpoint("bad", "https://shop.example/")
                },
            ],
            attempt_timeout_ms: 0,
            concurrency: 0,
            retry_base_ms: 0,
            retry_max_secs: 0,
            give_up_after_hours: 0,
            kept_days: 0,
            sweep_secs: 0,
            ..WebhooksConfig::default()
        };
        let mut errors = Vec::new();
        config.validate(&mut errors);
        assert!(!format!("{errors:?}").contains("hunter2"));
        let wanted = [
            "endpoints[1].url",
            "endpoints[1].name",
            "endpoints[2].name",
            "endpoints[2].url",
            "endpoints[3].url",
            "endpoints[4].url",
            "endpoints[5].secrets",
            "endpoints[6].secrets",
            "attempt_timeout_ms",
            "concurrency",
            "retry_base_ms",
            "retry_max_secs",
            "give_up_after_hours",
            "kept_days",
            "sweep_secs",
        ];
        assert_eq!(mistakes(&config), wanted);
    }

    #[test]
    fn plain_http_is_for_loopback_unless_allowed() {
        for (url, allow_http, good) in [
            ("http://127.0.0.1:9000/hook", false, true),
            ("http://localhost/hook", false, true),
            ("http://[::1]:9000/hook", false, true),
            ("http://10.0.0.1/hook", false, false),
            ("http://localhost.example/hook", false, false),
            ("http://10.0.0.1/hook", true, true),
            ("https://shop.example/hook", false, true),
        ] {
            let config =
                WebhooksConfig { endpoints: vec![endpoint("shop", url)], allow_http, ..WebhooksConfig::default() };
            assert_eq!(mistakes(&config).is_empty(), good, "{url}");
        }
    }

    #[test]
    fn endpoints_are_read_from_one_value_with_one_secret_or_several() {
        let read = |secrets: &str| {
            let value = format!(
                r#"[{{"name":"shop","url":"https://shop.example/T0KEN","secrets":{secrets},"events":["payment.refunded"]}}]"#
            );
            load_from::<WebhooksConfig>("payment.webhooks", &Sources::none().set("payment.webhooks.endpoints", value))
        };
        for secrets in [format!("\"{SECRET}\""), format!("[\"{SECRET}\",\"{SECRET}\"]")] {
            let config = read(&secrets).unwrap();
            let shop = &config.endpoints[0];
            assert!(
                shop.enabled
                    && shop.wants(&EventKind::new("payment.refunded"))
                    && !shop.wants(&EventKind::new("payment.captured"))
            );
            // Shown is where it goes, and neither what it signs with nor the path.
            for shown in [format!("{config:?}"), toml::to_string(&config).unwrap()] {
                assert!(shown.contains("https://shop.example"), "{shown}");
                assert!(!shown.contains("whsec_") && !shown.contains("T0KEN"), "{shown}");
            }
        }
        for wrong in ["5", "[\"whsec_hunter2\", 5]", "{\"a\": \"whsec_hunter2\"}", "\"whsec_hunter2\""] {
            let errors = read(wrong).unwrap_err().to_string();
            assert!(
                errors.contains("payment.webhooks.endpoints[0].secrets") && !errors.contains("hunter2"),
                "{errors}"
            );
        }
    }

    #[test]
    fn events_that_do_not_happen_are_named() {
        let known = [EventKind::new("payment.captured"), EventKind::new("payment.refunded")];
        let events = vec![known[1].clone(), EventKind::new("payment.lost")];
        let asking = EndpointConfig { events, ..endpoint("shop", "https://shop.example/") };
        let config = WebhooksConfig { endpoints: vec![asking], ..WebhooksConfig::default() };
        let mut errors = Vec::new();
        config.validate_events(&known, &mut errors);
        let told: Vec<_> = errors.iter().map(|error| (error.key.as_str(), error.message.as_str())).collect();
        assert_eq!(told, [("endpoints[0].events[1]", "must be one of payment.captured, payment.refunded")]);
    }
}
