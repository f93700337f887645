//! Faults injected on purpose, so that callers can be watched while things go wrong. Off by default, switched at run time.
//!
//! Must not know: which call it is.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use rand::Rng;
use serde::{Deserialize, Serialize};
use service_kit::config::ConfigError;

/// A longer delay than any caller waits only holds memory.
const DELAY_MS_MAX: u64 = 60_000;

/// What is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultsConfig {
    /// Every call waits this long before anything happens, in milliseconds: at most 60000. Also `PAYMENT_DELAY_MS`.
    pub delay_ms: u64,
    /// Out of a hundred calls, so many fail with UNAVAILABLE: half of them before they take effect, half after. Also
    /// `PAYMENT_ERROR_PCT`.
    pub error_pct: u8,
    /// Out of a hundred calls, so many are refused with RESOURCE_EXHAUSTED. Also `RATE_LIMIT_PCT`.
    pub rate_limit_pct: u8,
}

impl FaultsConfig {
    /// Adds what is wrong with it.
    pub fn validate(&self, errors: &mut Vec<ConfigError>) {
        for (good, key, message) in [
            (self.delay_ms <= DELAY_MS_MAX, "delay_ms", "must be at most 60000"),
            (self.error_pct <= 100, "error_pct", "must be at most 100"),
            (self.rate_limit_pct <= 100, "rate_limit_pct", "must be at most 100"),
        ] {
            if !good {
                errors.push(ConfigError::new(key, message));
            }
        }
    }
}

/// The switch. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<RwLock<FaultsConfig>>);

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is told to come back later.
    RateLimited,
    /// It fails before it takes effect.
    Before,
    /// It takes effect, and the caller does not hear of it: what makes an outcome unknown.
    After,
}

impl Faults {
    /// As configured.
    pub fn new(config: FaultsConfig) -> Self {
        let faults = Self::default();
        faults.switch(config);
        faults
    }

    /// What is going wrong at the moment.
    pub fn current(&self) -> FaultsConfig {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// From now on, this goes wrong.
    ///
    /// # Errors
    /// With every mistake in it; then nothing changes.
    pub fn set(&self, config: FaultsConfig) -> Result<(), Vec<ConfigError>> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        self.switch(config);
        Ok(())
    }

    fn switch(&self, config: FaultsConfig) {
        if config != FaultsConfig::default() {
            tracing::warn!(?config, "faults are injected on purpose");
        }
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = config;
    }

    /// Draws what goes wrong with the next call, and how long it waits first.
    pub(crate) fn draw(&self) -> (Duration, Fault) {
        let config = self.current();
        let delay = Duration::from_millis(config.delay_ms);
        if config.error_pct == 0 && config.rate_limit_pct == 0 {
            return (delay, Fault::None);
        }
        let mut rng = rand::rng();
        (delay, decide(&config, rng.random_range(0..100), rng.random_range(0..100), rng.random()))
    }
}

const fn decide(config: &FaultsConfig, limit: u8, error: u8, late: bool) -> Fault {
    if limit < config.rate_limit_pct {
        Fault::RateLimited
    } else if error < config.error_pct {
        if late { Fault::After } else { Fault::Before }
    } else {
        Fault::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shares_of_a_hundred() {
        let config = FaultsConfig { delay_ms: 0, error_pct: 30, rate_limit_pct: 50 };
        assert_eq!(decide(&config, 49, 0, false), Fault::RateLimited);
        assert_eq!(decide(&config, 50, 29, false), Fault::Before);
        assert_eq!(decide(&config, 50, 29, true), Fault::After);
        assert_eq!(decide(&config, 50, 30, true), Fault::None);
    }

    #[test]
    fn the_switch_is_shared_and_checked() {
        let faults = Faults::default();
        let other = faults.clone();
        assert_eq!(other.draw(), (Duration::ZERO, Fault::None));
        faults.set(FaultsConfig { delay_ms: 5, rate_limit_pct: 100, ..FaultsConfig::default() }).unwrap();
        assert_eq!(other.draw(), (Duration::from_millis(5), Fault::RateLimited));
        let wrong = FaultsConfig { delay_ms: 60_001, error_pct: 101, rate_limit_pct: 101 };
        assert_eq!(faults.set(wrong).unwrap_err().len(), 3);
        assert_eq!(other.current().rate_limit_pct, 100);
    }
}
