//! Configuration of the inventory service, section `inventory`.

use std::{net::SocketAddr, time::Duration};

use amends_auth::VerifierConfig;
use amends_primitives::{Currency, Money};
use serde::{Deserialize, Serialize};
use service_base::{
    config::{ConfigError, SecretUrl, Section},
    kv::Redis,
};
use service_kit::{
    database::{DatabaseConfig, Usual},
    faults::FaultsConfig,
};

use crate::{
    domain::{ItemError, NewItem, Sku},
    faults,
};

/// A reservation held for longer than a day has been forgotten by its caller.
const HOLD_SECS_MAX: u64 = 86_400;

/// A larger batch would keep its rows locked for too long.
const SWEEP_BATCH_MAX: u32 = 1_000;

/// Section `inventory`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener.
    pub grpc: GrpcConfig,
    /// Where items and reservations are.
    pub database: DatabaseConfig<InventoryStore>,
    /// `redis://…`, where the token service tells which tokens were revoked. Empty: revocations are not checked.
    pub redis_url: SecretUrl,
    /// Whose tokens are accepted.
    pub auth: VerifierConfig,
    /// How long goods are held.
    pub holds: HoldsConfig,
    /// What lets overdue reservations go.
    pub sweeper: SweeperConfig,
    /// Faults injected on purpose. All off by default.
    pub faults: FaultsConfig,
    /// Items created at start where they are missing. A list here replaces the built-in catalogue of a process that is all services.
    pub seed: Vec<SeedItem>,
}

/// The listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 50053)) }
    }
}

/// The database's defaults.
#[derive(Debug, Clone)]
pub enum InventoryStore {}

impl Usual for InventoryStore {
    const FILE: &'static str = "inventory.db";
}

/// How long goods are held.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldsConfig {
    /// Where the caller does not say.
    pub default_secs: u64,
    /// At the most, whatever the caller says. At most a day.
    pub max_secs: u64,
}

impl Default for HoldsConfig {
    /// A saga settles within seconds; the rest is for one whose orchestrator has to be restarted first.
    fn default() -> Self {
        Self { default_secs: 900, max_secs: 3_600 }
    }
}

/// What lets overdue reservations go. It wakes when the next one is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweeperConfig {
    /// Reservations let go in one transaction: 1 to 1000.
    pub batch: u32,
    /// How long it sleeps at the most, in milliseconds: no other replica has a timer for the
    /// reservations of one that died.
    pub sleep_max_ms: u64,
    /// Step keys under which nothing was done for this number of days are forgotten; 0 keeps them for ever. A call under a
    /// forgotten key is taken for new: it must be more than any saga is retried, or left parked, or its messages may be under way.
    pub keys_kept_days: u64,
}

impl SweeperConfig {
    pub(crate) fn keys_kept_for(&self) -> Option<Duration> {
        (self.keys_kept_days > 0)
            .then(|| Duration::from_hours(24).saturating_mul(u32::try_from(self.keys_kept_days).unwrap_or(u32::MAX)))
    }
}

impl Default for SweeperConfig {
    fn default() -> Self {
        Self { batch: 100, sleep_max_ms: 30_000, keys_kept_days: 90 }
    }
}

/// An item created at start where it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedItem {
    /// 1 to 64 ASCII letters, digits and `-_.:/`.
    pub sku: String,
    /// For people.
    pub name: String,
    /// The price of one unit, in minor units.
    pub amount_minor: i64,
    /// The price's currency: ISO 4217.
    pub currency: String,
    /// Units.
    pub on_hand: i64,
}

impl SeedItem {
    /// The item.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub fn item(&self) -> Result<NewItem, (&'static str, String)> {
        let sku: Sku = self.sku.parse().map_err(|error| ("sku", format!("{error}")))?;
        let currency: Currency = self.currency.parse().map_err(|error| ("currency", format!("{error}")))?;
        let price = Money::new(self.amount_minor, currency);
        NewItem::try_new(sku, self.name.clone(), price, self.on_hand).map_err(|error| {
            let field = match error {
                ItemError::Name => "name",
                ItemError::UnitPrice => "amount_minor",
                ItemError::OnHand => "on_hand",
            };
            (field, error.to_string())
        })
    }
}

impl Section for Config {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("INVENTORY_DELAY_MS", "inventory.faults.delay_ms"),
        ("INVENTORY_ERROR_PCT", "inventory.faults.error_pct"),
        ("INVENTORY_RATE_LIMIT_PCT", "inventory.faults.rate_limit_pct"),
    ];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        Redis::check(&self.redis_url, errors);
        self.database.validate(errors);
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check((1..=HOLD_SECS_MAX).contains(&self.holds.max_secs), "holds.max_secs", "must be 1 to 86400");
        let default = self.holds.default_secs;
        check(1 <= default && default <= self.holds.max_secs, "holds.default_secs", "must be 1 to holds.max_secs");
        check((1..=SWEEP_BATCH_MAX).contains(&self.sweeper.batch), "sweeper.batch", "must be 1 to 1000");
        check(self.sweeper.sleep_max_ms >= 100, "sweeper.sleep_max_ms", "must be at least 100");
        let days = self.sweeper.keys_kept_days;
        check(days == 0 || (7..=36_500).contains(&days), "sweeper.keys_kept_days", "must be 0, or 7 to 36500");
        let mut skus = std::collections::BTreeSet::new();
        for (index, item) in self.seed.iter().enumerate() {
            // The second one would never be made, and the operator would not learn of it.
            check(skus.insert(&item.sku), &format!("seed[{index}].sku"), "is there twice");
            if let Err((field, message)) = item.item() {
                check(false, &format!("seed[{index}].{field}"), &message);
            }
        }
        ConfigError::within("auth", errors, |errors| self.auth.validate(errors));
        ConfigError::within("faults", errors, |errors| {
            self.faults.validate(errors);
            faults::check(&self.faults, errors);
        });
    }
}

#[cfg(test)]
mod tests {
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
        config.database.url = "mysql://root:hunter2@db".into();
        config.holds.default_secs = 10_000;
        config.sweeper.batch = 0;
        config.faults.error_pct = 101;
        config.faults.refuse_commit_skus = vec!["tea".into(), "a b".into()];
        let item =
            SeedItem { sku: "tea".into(), name: "Tea".into(), amount_minor: 500, currency: "EUR".into(), on_hand: 1 };
        config.seed = vec![
            item.clone(),
            SeedItem { currency: "XXX".into(), ..item.clone() },
            SeedItem { amount_minor: 0, ..item },
        ];
        config.auth.issuer = String::new();
        let mut errors = Vec::new();
        config.validate(&mut errors);
        let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "redis_url",
                "database.url",
                "holds.default_secs",
                "sweeper.batch",
                "seed[1].sku",
                "seed[1].currency",
                "seed[2].sku",
                "seed[2].amount_minor",
                "auth.issuer",
                "faults.error_pct",
                "faults.refuse_commit_skus[1]"
            ]
        );
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
