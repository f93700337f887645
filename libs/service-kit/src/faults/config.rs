//! What is to go wrong, as configuration and as the body of `PUT /faults`.

use serde::{Deserialize, Serialize};

use service_base::config::ConfigError;

/// A longer delay than any caller waits only holds memory.
const DELAY_MS_MAX: u64 = 60_000;
/// What is refused is looked through at each call.
const REFUSALS_MAX: usize = 100;

/// What is to go wrong. Nothing, by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultsConfig {
    /// Calls wait this long before anything happens, in milliseconds: at most 60000.
    pub delay_ms: u64,
    /// Percentage of calls that are delayed.
    pub delay_pct: u8,
    /// Percentage of calls that fail with UNAVAILABLE: half of them before they take effect, half after.
    pub error_pct: u8,
    /// Percentage of calls that are refused with RESOURCE_EXHAUSTED and a time to come back.
    pub rate_limit_pct: u8,
    /// Percentage of calls that get no answer for a minute.
    pub hang_pct: u8,
    /// Percentage of calls whose connection is cut, and with it every other call on it: half of them before they
    /// take effect, half after.
    pub reset_pct: u8,
    /// Percentage of calls that fail with INTERNAL before they take effect, like a defect that a retry does not cure.
    pub internal_pct: u8,
    /// The faults above apply to this number of calls, and then stop. 0: until they are switched off.
    pub next_calls: u64,
    /// What is refused for business reasons, under its step key and for good: payment methods (declined), or SKUs (no stock).
    pub refuse: Vec<String>,
    /// Reservations with one of these SKUs expire at the moment they are committed. Inventory only.
    pub refuse_commit_skus: Vec<String>,
    /// Lets a service whose `telemetry.environment` is `production` start with faults configured, and switch them at run time.
    pub allow_in_production: bool,
}

impl Default for FaultsConfig {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            delay_pct: 100,
            error_pct: 0,
            rate_limit_pct: 0,
            hang_pct: 0,
            reset_pct: 0,
            internal_pct: 0,
            next_calls: 0,
            refuse: Vec::new(),
            refuse_commit_skus: Vec::new(),
            allow_in_production: false,
        }
    }
}

impl FaultsConfig {
    /// Whether anything goes wrong at all.
    pub const fn is_off(&self) -> bool {
        !self.touches_calls() && self.refuse.is_empty() && self.refuse_commit_skus.is_empty()
    }

    /// Whether anything goes wrong with calls as such.
    pub(super) const fn touches_calls(&self) -> bool {
        self.delay_ms > 0
            || self.error_pct > 0
            || self.rate_limit_pct > 0
            || self.hang_pct > 0
            || self.reset_pct > 0
            || self.internal_pct > 0
    }

    /// Without the faults of calls; refusals stay.
    pub(super) fn without_call_faults(&self) -> Self {
        Self {
            refuse: self.refuse.clone(),
            refuse_commit_skus: self.refuse_commit_skus.clone(),
            allow_in_production: self.allow_in_production,
            ..Self::default()
        }
    }

    /// Adds what is wrong with it. What may stand in `refuse` is the service's to say.
    pub fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check(self.delay_ms <= DELAY_MS_MAX, "delay_ms", "must be at most 60000");
        for (key, share) in [
            ("delay_pct", self.delay_pct),
            ("error_pct", self.error_pct),
            ("rate_limit_pct", self.rate_limit_pct),
            ("hang_pct", self.hang_pct),
            ("reset_pct", self.reset_pct),
            ("internal_pct", self.internal_pct),
        ] {
            check(share <= 100, key, "must be at most 100");
        }
        check(self.refuse.len() <= REFUSALS_MAX, "refuse", "must be at most 100");
        check(self.refuse_commit_skus.len() <= REFUSALS_MAX, "refuse_commit_skus", "must be at most 100");
    }
}
