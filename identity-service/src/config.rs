//! Configuration of the token service, section `identity`.

use std::{fmt, net::IpAddr, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use service_kit::config::{ConfigError, Section};

use crate::{
    crypto::{
        keyring::{FORMER_KEYS_MAX, KEY_LEN},
        password::{HashCost, PoolLimits},
    },
    domain::{
        key_schedule::RotationPolicy,
        principal::{Grant, is_valid_name},
        refresh::RefreshPolicy,
        scope::ScopeSet,
        throttle::ThrottlePolicy,
    },
};

/// Verifiers accept a token this much longer than it says, at the most (the bound of `service_kit::auth::VerifierConfig`); keys and
/// revocations are kept as long.
pub const VERIFIER_LEEWAY_MAX: Duration = Duration::from_secs(300);

/// Shorter client secrets are guessable; ours have 43 characters.
const CLIENT_SECRET_LENGTH_MIN: usize = 16;

/// More would make every start slow: each password costs a hash.
const BOOTSTRAP_MAX: usize = 100;

/// A configured secret. Neither `Debug` nor serialisation shows it.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    /// The value itself. Look twice at where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// For libraries that keep secrets in this type.
    pub fn to_secret_string(&self) -> SecretString {
        self.0.clone()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { "(secret)" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "(secret)" })
    }
}

/// Section `identity`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener.
    pub http: HttpConfig,
    /// Where users, clients, keys and sessions are.
    pub database: DatabaseConfig,
    /// `redis://…`, where revocations are shared with the gateway and the services. Empty: only within this process.
    pub redis_url: Secret,
    /// `iss` of the tokens, and the base of the addresses in the metadata: the URL callers reach this service by.
    pub issuer: String,
    /// `aud` of the tokens.
    pub audience: String,
    /// 32 bytes in base64. Encrypts the signing keys in the store and makes refresh tokens genuine. Required.
    pub key_encryption_key: Secret,
    /// Former values of `key_encryption_key`, still accepted. Keys are sealed anew with the current one at start.
    pub former_key_encryption_keys: Vec<Secret>,
    /// Access tokens.
    pub token: TokenConfig,
    /// Refresh tokens.
    pub refresh: RefreshConfig,
    /// Signing keys.
    pub keys: KeysConfig,
    /// Password hashing.
    pub password: PasswordConfig,
    /// Waits after wrong passwords.
    pub throttle: ThrottleConfig,
    /// Callers whose `X-Forwarded-For` is believed, for the waits: the gateway's addresses.
    pub trusted_proxies: Vec<IpAddr>,
    /// The public client that `/auth/login` acts for.
    pub login_client_id: String,
    /// Whether `grant_type=password` is answered. RFC 9700 forbids it; for development only.
    pub password_grant: bool,
    /// Users and clients that exist from the start.
    pub bootstrap: Bootstrap,
}

/// The listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite://FILE?mode=rwc` or `postgres://…`.
    pub url: Secret,
    /// Connections at the most.
    pub connections_max: u32,
    /// How long to wait at start for a database that is not up yet.
    pub start_patience_seconds: u64,
}

/// Access tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Life of an access token: 60 to 3600.
    pub access_seconds: u64,
}

/// Refresh tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshConfig {
    /// A session nobody refreshed for this long is over.
    pub idle_seconds: u64,
    /// A session this old is over.
    pub age_seconds: u64,
    /// How long the token before the newest is answered again, for clients whose answer was lost. 0: never. At most 300.
    pub grace_seconds: u64,
}

/// Signing keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// How long a key signs.
    pub period_seconds: u64,
    /// How long a key is published before it signs: at least `jwks_max_age_seconds` and two minutes.
    pub publish_ahead_seconds: u64,
    /// How long verifiers may cache the key set.
    pub jwks_max_age_seconds: u64,
}

/// Password hashing: Argon2id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// Memory of one hash.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Hashes at once.
    pub concurrent_max: usize,
    /// Log-ins that may wait for one; more are told to come back.
    pub waiting_max: usize,
    /// And no longer than this.
    pub wait_ms_max: u64,
}

/// Waits after wrong passwords, for each pair of user name and address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Wrong passwords without a wait.
    pub free_failures: u32,
    /// The first wait; each further failure doubles it.
    pub delay_first_ms: u64,
    /// The longest wait.
    pub delay_max_seconds: u64,
    /// Failures this old are forgotten.
    pub forget_after_seconds: u64,
}

/// Users and clients written to the store at start, replacing those of the same name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// People.
    pub users: Vec<BootstrapUser>,
    /// Programs.
    pub clients: Vec<BootstrapClient>,
}

/// One person.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapUser {
    /// The name, and the `sub` of the tokens.
    pub username: String,
    /// The password, or
    #[serde(default)]
    pub password: Secret,
    /// its Argon2id hash as a PHC string.
    #[serde(default)]
    pub password_hash: Secret,
    /// What tokens may permit.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Neither logs in nor refreshes.
    #[serde(default)]
    pub disabled: bool,
}

/// One program.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapClient {
    /// The id, and the `sub` of its own tokens.
    pub client_id: String,
    /// The secret. Empty: a public client, which can refresh but not act for itself.
    #[serde(default)]
    pub client_secret: Secret,
    /// What tokens may permit.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `client_credentials`, `refresh_token`, `password`, `urn:ietf:params:oauth:grant-type:token-exchange`.
    #[serde(default = "only_for_itself")]
    pub grant_types: Vec<String>,
    /// Gets no more tokens.
    #[serde(default)]
    pub disabled: bool,
}

fn only_for_itself() -> Vec<String> {
    vec![Grant::ClientCredentials.as_str().to_owned()]
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            database: DatabaseConfig::default(),
            redis_url: Secret::default(),
            issuer: "http://127.0.0.1:8081".to_owned(),
            audience: "amends".to_owned(),
            key_encryption_key: Secret::default(),
            former_key_encryption_keys: Vec::new(),
            token: TokenConfig::default(),
            refresh: RefreshConfig::default(),
            keys: KeysConfig::default(),
            password: PasswordConfig::default(),
            throttle: ThrottleConfig::default(),
            trusted_proxies: vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])],
            login_client_id: "amends-web".to_owned(),
            password_grant: false,
            bootstrap: Bootstrap::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)) }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: "sqlite://identity.db?mode=rwc".into(), connections_max: 16, start_patience_seconds: 30 }
    }
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { access_seconds: 600 }
    }
}

impl Default for RefreshConfig {
    fn default() -> Self {
        Self { idle_seconds: 7 * 24 * 3600, age_seconds: 30 * 24 * 3600, grace_seconds: 30 }
    }
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { period_seconds: 7 * 24 * 3600, publish_ahead_seconds: 24 * 3600, jwks_max_age_seconds: 300 }
    }
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1, concurrent_max: 2, waiting_max: 64, wait_ms_max: 2000 }
    }
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self { free_failures: 5, delay_first_ms: 1000, delay_max_seconds: 900, forget_after_seconds: 3600 }
    }
}

impl Config {
    /// How keys rotate.
    pub fn rotation_policy(&self) -> RotationPolicy {
        RotationPolicy {
            period: Duration::from_secs(self.keys.period_seconds),
            publish_ahead: Duration::from_secs(self.keys.publish_ahead_seconds),
            // A replica that lags a little behind still signs with the old key.
            keep_after: self.access_life() + VERIFIER_LEEWAY_MAX + Duration::from_secs(300),
        }
    }

    /// Lifetimes of sessions.
    pub fn refresh_policy(&self) -> RefreshPolicy {
        RefreshPolicy {
            idle_max: Duration::from_secs(self.refresh.idle_seconds),
            age_max: Duration::from_secs(self.refresh.age_seconds),
            grace: Duration::from_secs(self.refresh.grace_seconds),
        }
    }

    /// Waits after wrong passwords.
    pub fn throttle_policy(&self) -> ThrottlePolicy {
        ThrottlePolicy {
            free_failures: self.throttle.free_failures,
            delay_first: Duration::from_millis(self.throttle.delay_first_ms),
            delay_max: Duration::from_secs(self.throttle.delay_max_seconds),
            forget_after: Duration::from_secs(self.throttle.forget_after_seconds),
        }
    }

    /// Life of an access token.
    pub fn access_life(&self) -> Duration {
        Duration::from_secs(self.token.access_seconds)
    }

    /// Cost of a password hash.
    pub fn hash_cost(&self) -> HashCost {
        HashCost { memory_kib: self.password.memory_kib, passes: self.password.passes, lanes: self.password.lanes }
    }

    /// Bounds of password hashing.
    pub fn pool_limits(&self) -> PoolLimits {
        PoolLimits {
            concurrent_max: self.password.concurrent_max,
            waiting_max: self.password.waiting_max,
            wait_max: Duration::from_millis(self.password.wait_ms_max),
        }
    }
}

/// Reads a key encryption key.
pub fn read_key(secret: &Secret) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let bytes = Zeroizing::new(STANDARD.decode(secret.expose().trim()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

impl Section for Config {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| {
            if !good {
                errors.push(ConfigError::new(key, message));
            }
        };
        let url_scheme = self.database.url.expose().split(':').next().unwrap_or_default();
        check(
            matches!(url_scheme, "sqlite" | "postgres" | "postgresql"),
            "database.url",
            "must begin with sqlite: or postgres:",
        );
        check(
            (1..=1000).contains(&self.database.connections_max),
            "database.connections_max",
            "must be from 1 to 1000",
        );
        check(
            self.redis_url.is_empty() || self.redis_url.expose().starts_with("redis"),
            "redis_url",
            "must begin with redis: or rediss:",
        );
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
        check((60..=3600).contains(&self.token.access_seconds), "token.access_seconds", "must be from 60 to 3600");
        check(
            self.refresh.idle_seconds > 0 && self.refresh.idle_seconds <= self.refresh.age_seconds,
            "refresh.idle_seconds",
            "must be above 0 and not above age_seconds",
        );
        check(self.refresh.age_seconds <= 400 * 24 * 3600, "refresh.age_seconds", "must be at most 400 days");
        check(self.refresh.grace_seconds <= 300, "refresh.grace_seconds", "must be at most 300");
        check(
            self.keys.publish_ahead_seconds >= self.keys.jwks_max_age_seconds.saturating_add(120),
            "keys.publish_ahead_seconds",
            "must be at least jwks_max_age_seconds and 120 more, so that verifiers have a key before it signs",
        );
        check(
            self.keys.period_seconds >= self.keys.publish_ahead_seconds.saturating_add(self.token.access_seconds)
                && self.keys.period_seconds <= 400 * 24 * 3600,
            "keys.period_seconds",
            "must be at least publish_ahead_seconds and token.access_seconds together, and at most 400 days",
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
        check(self.throttle.delay_max_seconds <= 24 * 3600, "throttle.delay_max_seconds", "must be at most a day");
        check(
            self.throttle.forget_after_seconds >= self.throttle.delay_max_seconds,
            "throttle.forget_after_seconds",
            "must be at least delay_max_seconds",
        );
        check(is_valid_name(&self.login_client_id), "login_client_id", NAME_FORM);
        self.bootstrap.validate(errors);
    }
}

const NAME_FORM: &str = "must be 1 to 128 visible ASCII characters without a colon";

impl Bootstrap {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut names = std::collections::BTreeSet::new();
        let mut check = |good: bool, key: String, message: &str| {
            if !good {
                errors.push(ConfigError::new(key, message));
            }
        };
        check(
            self.users.len() + self.clients.len() <= BOOTSTRAP_MAX,
            "bootstrap".to_owned(),
            "may hold at most 100 users and clients",
        );
        // One namespace: both become the `sub` of tokens, and nobody may be taken for somebody else.
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
    use super::*;

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
        config.keys.publish_ahead_seconds = 300;
        config.refresh.grace_seconds = 301;
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
                "refresh.grace_seconds",
                "keys.publish_ahead_seconds",
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
