//! Configuration of the token service, section `identity`. What types alone cannot say is in `config/validate.rs`.

mod validate;

use std::{fmt, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::{
    crypto::{keyring::KEY_LEN, password::HashCost, turns::TurnLimits},
    domain::{key_schedule::RotationPolicy, principal::Grant, refresh::RefreshPolicy, throttle::ThrottlePolicy},
};

use service_base::{config::SecretUrl, peer::Network};
use service_kit::database::{DatabaseConfig, Usual};

/// Verifiers accept a token this much longer than it says, at the most (the bound of `amends_auth::VerifierConfig`); keys and
/// revocations are kept as long.
pub const VERIFIER_LEEWAY_MAX: Duration = Duration::from_mins(5);

/// No access token lives longer: the bound of `token.access_secs`. Revocations of sessions are kept as long.
pub const ACCESS_LIFE_MAX: Duration = Duration::from_hours(1);

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
    pub database: DatabaseConfig<IdentityStore>,
    /// `redis://…`, where revocations are shared with the gateway and the services. Empty: only within this process.
    pub redis_url: SecretUrl,
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
    /// Callers whose `X-Forwarded-For` is believed, for the waits and the turns: the gateway's addresses or networks, `10.0.0.0/8`. A
    /// gateway that is not among them makes all its callers one, and lets one of them hold up the others. A list here replaces the
    /// default, the loopback addresses.
    pub trusted_proxies: Vec<Network>,
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

/// The database's defaults.
#[derive(Debug, Clone)]
pub enum IdentityStore {}

impl Usual for IdentityStore {
    const FILE: &'static str = "identity.db";
}

/// Access tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Life of an access token: 60 to 3600.
    pub access_secs: u64,
}

/// Refresh tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshConfig {
    /// A session that was not refreshed for this long is over.
    pub idle_secs: u64,
    /// A session this old is over.
    pub age_secs: u64,
    /// How long the token before the newest is answered again, for clients whose answer was lost. 0: never. At most 300.
    pub grace_secs: u64,
}

/// Signing keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// How long a key signs.
    pub period_secs: u64,
    /// How long a key is published before it signs: at least `jwks_max_age_secs` and two minutes.
    pub publish_ahead_secs: u64,
    /// How long verifiers may cache the key set.
    pub jwks_max_age_secs: u64,
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
    /// Log-ins that may wait for one; more are told to come back. Shared fairly by the addresses that they come from: an address that
    /// has more waiting than others gives way to them, and none waits for another's queue.
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
    pub delay_max_secs: u64,
    /// Failures this old are forgotten.
    pub forget_after_secs: u64,
}

/// Users and clients written to the store at start, replacing those of the same name. Sources of configuration add to each other here:
/// entries of one name are merged key by key, and those of other names stay. What one does not want is `disabled`.
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
            redis_url: SecretUrl::default(),
            issuer: "http://127.0.0.1:8081".to_owned(),
            audience: "amends".to_owned(),
            key_encryption_key: Secret::default(),
            former_key_encryption_keys: Vec::new(),
            token: TokenConfig::default(),
            refresh: RefreshConfig::default(),
            keys: KeysConfig::default(),
            password: PasswordConfig::default(),
            throttle: ThrottleConfig::default(),
            trusted_proxies: Network::LOOPBACK.to_vec(),
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

impl Default for TokenConfig {
    fn default() -> Self {
        Self { access_secs: 600 }
    }
}

impl Default for RefreshConfig {
    fn default() -> Self {
        Self { idle_secs: 7 * 24 * 3600, age_secs: 30 * 24 * 3600, grace_secs: 30 }
    }
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { period_secs: 7 * 24 * 3600, publish_ahead_secs: 24 * 3600, jwks_max_age_secs: 300 }
    }
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1, concurrent_max: 2, waiting_max: 64, wait_ms_max: 2000 }
    }
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self { free_failures: 5, delay_first_ms: 1000, delay_max_secs: 900, forget_after_secs: 3600 }
    }
}

impl Config {
    /// Believes the gateway that runs in the same process, whatever else is believed: it comes from the loopback interface, or from the
    /// address that this service listens on.
    pub fn trust_this_machine(&mut self) {
        let mut own = Network::LOOPBACK.to_vec();
        let listen = self.http.listen.ip();
        if !listen.is_unspecified() {
            own.push(listen.into());
        }
        for range in own {
            if !self.trusted_proxies.contains(&range) {
                self.trusted_proxies.push(range);
            }
        }
    }

    /// How keys rotate.
    pub fn rotation_policy(&self) -> RotationPolicy {
        RotationPolicy {
            period: Duration::from_secs(self.keys.period_secs),
            publish_ahead: Duration::from_secs(self.keys.publish_ahead_secs),
            // A replica that lags a little behind still signs with the old key.
            keep_after: self.access_life() + VERIFIER_LEEWAY_MAX + Duration::from_mins(5),
        }
    }

    /// Lifetimes of sessions.
    pub fn refresh_policy(&self) -> RefreshPolicy {
        RefreshPolicy {
            idle_max: Duration::from_secs(self.refresh.idle_secs),
            age_max: Duration::from_secs(self.refresh.age_secs),
            grace: Duration::from_secs(self.refresh.grace_secs),
        }
    }

    /// Waits after wrong passwords.
    pub fn throttle_policy(&self) -> ThrottlePolicy {
        ThrottlePolicy {
            free_failures: self.throttle.free_failures,
            delay_first: Duration::from_millis(self.throttle.delay_first_ms),
            delay_max: Duration::from_secs(self.throttle.delay_max_secs),
            forget_after: Duration::from_secs(self.throttle.forget_after_secs),
        }
    }

    /// Life of an access token.
    pub fn access_life(&self) -> Duration {
        Duration::from_secs(self.token.access_secs)
    }

    /// Cost of a password hash.
    pub fn hash_cost(&self) -> HashCost {
        HashCost { memory_kib: self.password.memory_kib, passes: self.password.passes, lanes: self.password.lanes }
    }

    /// Bounds of password hashing.
    pub fn turn_limits(&self) -> TurnLimits {
        TurnLimits {
            concurrent_max: self.password.concurrent_max,
            waiting_max: self.password.waiting_max,
            patience: Duration::from_millis(self.password.wait_ms_max),
        }
    }
}

/// Reads a key encryption key.
pub fn read_key(secret: &Secret) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let bytes = Zeroizing::new(STANDARD.decode(secret.expose().trim()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}
