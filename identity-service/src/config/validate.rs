//! What may stand in the configuration, said for all mistakes at once.

use service_base::{
    config::{ConfigError, NamedList, Section},
    kv::Redis,
};

use super::{ACCESS_LIFE_MAX, Bootstrap, Config, read_key};
use crate::{
    crypto::keyring::FORMER_KEYS_MAX,
    domain::{
        principal::{Grant, is_valid_name},
        scope::ScopeSet,
    },
};

/// Shorter client secrets are guessable; generated ones have 43 characters.
const CLIENT_SECRET_LENGTH_MIN: usize = 16;

/// More would make every start slow: each password costs a hash.
const BOOTSTRAP_MAX: usize = 100;

impl Section for Config {
    /// An operator who adds a client does not mean to remove those that a composition of services needs.
    const NAMED_LISTS: &'static [NamedList] = &[
        NamedList { path: "bootstrap.users", name: "username", one_of: &["password", "password_hash"] },
        NamedList { path: "bootstrap.clients", name: "client_id", one_of: &[] },
    ];

    /// Its durations were in `_seconds` where those of other services were in `_secs`.
    const RENAMED: &'static [(&'static str, &'static str)] = &[
        ("database.start_patience_seconds", "database.start_patience_secs"),
        ("token.access_seconds", "token.access_secs"),
        ("refresh.idle_seconds", "refresh.idle_secs"),
        ("refresh.age_seconds", "refresh.age_secs"),
        ("refresh.grace_seconds", "refresh.grace_secs"),
        ("keys.period_seconds", "keys.period_secs"),
        ("keys.publish_ahead_seconds", "keys.publish_ahead_secs"),
        ("keys.jwks_max_age_seconds", "keys.jwks_max_age_secs"),
        ("throttle.delay_max_seconds", "throttle.delay_max_secs"),
        ("throttle.forget_after_seconds", "throttle.forget_after_secs"),
    ];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        Redis::check(&self.redis_url, errors);
        self.database.validate(errors);
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        let issuer_is_url = self.issuer.starts_with("http://") || self.issuer.starts_with("https://");
        check(
            issuer_is_url && !self.issuer.ends_with('/') && !self.issuer.contains(['?', '#']),
            "issuer",
            "must be an http or https URL without a query, a fragment and a slash at the end",
        );
        check(!self.audience.is_empty(), "audience", "must not be empty");
        let key_form = "must be 32 bytes in base64, for instance from: openssl rand -base64 32";
        check(!self.key_encryption_key.is_empty(), "key_encryption_key", "is required: 32 bytes in base64");
        check(
            self.key_encryption_key.is_empty() || read_key(&self.key_encryption_key).is_some(),
            "key_encryption_key",
            key_form,
        );
        check(
            self.former_key_encryption_keys.len() <= FORMER_KEYS_MAX,
            "former_key_encryption_keys",
            "are at most four: remove those nothing is sealed with any more",
        );
        check(
            self.former_key_encryption_keys.iter().all(|key| read_key(key).is_some()),
            "former_key_encryption_keys",
            key_form,
        );
        check(
            (60..=ACCESS_LIFE_MAX.as_secs()).contains(&self.token.access_secs),
            "token.access_secs",
            "must be from 60 to 3600",
        );
        check(
            self.refresh.idle_secs > 0 && self.refresh.idle_secs <= self.refresh.age_secs,
            "refresh.idle_secs",
            "must be above 0 and not above age_secs",
        );
        check(self.refresh.age_secs <= 400 * 24 * 3600, "refresh.age_secs", "must be at most 400 days");
        check(self.refresh.grace_secs <= 300, "refresh.grace_secs", "must be at most 300");
        check(
            self.keys.publish_ahead_secs >= self.keys.jwks_max_age_secs.saturating_add(120),
            "keys.publish_ahead_secs",
            "must be at least jwks_max_age_secs and 120 more, so that verifiers have a key before it signs",
        );
        check(
            self.keys.period_secs >= self.keys.publish_ahead_secs.saturating_add(self.token.access_secs)
                && self.keys.period_secs <= 400 * 24 * 3600,
            "keys.period_secs",
            "must be at least publish_ahead_secs and token.access_secs together, and at most 400 days",
        );
        check(
            (8 * self.password.lanes.max(1)..=1024 * 1024).contains(&self.password.memory_kib),
            "password.memory_kib",
            "must be at least 8 for each lane, and at most 1048576",
        );
        check((1..=100).contains(&self.password.passes), "password.passes", "must be from 1 to 100");
        check((1..=16).contains(&self.password.lanes), "password.lanes", "must be from 1 to 16");
        check((1..=64).contains(&self.password.concurrent_max), "password.concurrent_max", "must be from 1 to 64");
        check(self.password.waiting_max <= 10_000, "password.waiting_max", "must be at most 10000");
        check((1..=10_000).contains(&self.password.wait_ms_max), "password.wait_ms_max", "must be from 1 to 10000");
        check(self.throttle.delay_max_secs <= 24 * 3600, "throttle.delay_max_secs", "must be at most a day");
        check(
            self.throttle.forget_after_secs >= self.throttle.delay_max_secs,
            "throttle.forget_after_secs",
            "must be at least delay_max_secs",
        );
        check(is_valid_name(&self.login_client_id), "login_client_id", NAME_FORM);
        self.bootstrap.validate(errors);
    }
}

const NAME_FORM: &str = "must be 1 to 128 visible ASCII characters without a colon";

impl Bootstrap {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut names = std::collections::BTreeSet::new();
        let mut check = |good: bool, key: String, message: &str| ConfigError::unless(good, key, message, errors);
        check(
            self.users.len() + self.clients.len() <= BOOTSTRAP_MAX,
            "bootstrap".to_owned(),
            "may hold at most 100 users and clients",
        );
        // One namespace: both become the `sub` of tokens, and no client may be taken for a user.
        for (index, user) in self.users.iter().enumerate() {
            let key = |field: &str| format!("bootstrap.users[{index}].{field}");
            check(is_valid_name(&user.username), key("username"), NAME_FORM);
            check(names.insert(user.username.as_str()), key("username"), "is used twice");
            let one = user.password.is_empty() != user.password_hash.is_empty();
            check(one, key("password"), "or password_hash must be given, not both");
            let hash = user.password_hash.expose();
            check(
                hash.is_empty() || hash.starts_with("$argon2id$"),
                key("password_hash"),
                "must begin with $argon2id$",
            );
            check(ScopeSet::from_list(&user.scopes).is_ok(), key("scopes"), "must be a list of scopes");
        }
        for (index, client) in self.clients.iter().enumerate() {
            let key = |field: &str| format!("bootstrap.clients[{index}].{field}");
            check(is_valid_name(&client.client_id), key("client_id"), NAME_FORM);
            check(names.insert(client.client_id.as_str()), key("client_id"), "is used twice");
            check(
                client.client_secret.is_empty() || client.client_secret.expose().len() >= CLIENT_SECRET_LENGTH_MIN,
                key("client_secret"),
                "must have at least 16 characters",
            );
            check(ScopeSet::from_list(&client.scopes).is_ok(), key("scopes"), "must be a list of scopes");
            let known = client.grant_types.iter().all(|grant| grant.parse::<Grant>().is_ok());
            check(known, key("grant_types"), "must be known grant types");
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;
    use crate::config::{BootstrapClient, BootstrapUser};

    fn valid() -> Config {
        Config { key_encryption_key: STANDARD.encode([7; 32]).into(), ..Config::default() }
    }

    fn mistakes(config: &Config) -> Vec<String> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        errors.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn defaults_lack_only_the_key() {
        assert_eq!(mistakes(&valid()), Vec::<String>::new());
        assert_eq!(mistakes(&Config::default()), ["key_encryption_key"]);
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let mut config = valid();
        config.database.url = "mysql://x".into();
        config.issuer = "amends/".into();
        config.key_encryption_key = "c2hvcnQ=".into();
        config.keys.publish_ahead_secs = 300;
        config.refresh.grace_secs = 301;
        config.password.memory_kib = 4;
        let user = BootstrapUser { username: "a b".into(), ..BootstrapUser::default() };
        let client = BootstrapClient {
            client_id: "a b".into(),
            client_secret: "short".into(),
            grant_types: vec!["implicit".into()],
            ..BootstrapClient::default()
        };
        config.bootstrap = Bootstrap { users: vec![user], clients: vec![client] };
        assert_eq!(
            mistakes(&config),
            [
                "database.url",
                "issuer",
                "key_encryption_key",
                "refresh.grace_secs",
                "keys.publish_ahead_secs",
                "password.memory_kib",
                "bootstrap.users[0].username",
                "bootstrap.users[0].password",
                "bootstrap.clients[0].client_id",
                "bootstrap.clients[0].client_id",
                "bootstrap.clients[0].client_secret",
                "bootstrap.clients[0].grant_types",
            ]
        );
    }

    #[test]
    fn secrets_appear_neither_in_debug_nor_in_serialised_form() {
        let mut config = valid();
        config.database.url = "postgres://u:hunter2@db/x".into();
        config.redis_url = "redis://:hunter2@r".into();
        config.former_key_encryption_keys = vec!["hunter2".into()];
        config.bootstrap.users =
            vec![BootstrapUser { username: "u".into(), password: "hunter2".into(), ..BootstrapUser::default() }];
        config.bootstrap.clients = vec![BootstrapClient {
            client_id: "c".into(),
            client_secret: "hunter2".into(),
            ..BootstrapClient::default()
        }];
        let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains(config.key_encryption_key.expose()), "{shown}");
    }
}
