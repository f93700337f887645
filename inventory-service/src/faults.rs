//! Faults injected on purpose, so that callers can be watched while things go wrong. Off by default.
//!
//! Must not know: which call it is, except for the SKUs whose commits are refused.

use std::{sync::Arc, time::Duration};

use rand::Rng;

use crate::{config::FaultsConfig, domain::Sku};

/// What is to go wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    delay: Duration,
    error_pct: u8,
    rate_limit_pct: u8,
    refuse_commit_skus: Arc<[Sku]>,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
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
    /// As configured. SKUs that are none were refused by the configuration's validation.
    pub fn new(config: &FaultsConfig) -> Self {
        Self {
            delay: Duration::from_millis(config.delay_ms),
            error_pct: config.error_pct,
            rate_limit_pct: config.rate_limit_pct,
            refuse_commit_skus: config.refuse_commit_skus.iter().filter_map(|sku| sku.parse().ok()).collect(),
        }
    }

    /// How long each call waits first.
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// The SKUs whose reservations expire when they are committed.
    pub fn refuse_commit_skus(&self) -> Arc<[Sku]> {
        Arc::clone(&self.refuse_commit_skus)
    }

    /// Draws what goes wrong with the next call.
    pub fn draw(&self) -> Fault {
        if self.error_pct == 0 && self.rate_limit_pct == 0 {
            return Fault::None;
        }
        let mut rng = rand::rng();
        self.decide(rng.random_range(0..100), rng.random_range(0..100), rng.random())
    }

    fn decide(&self, limit: u8, error: u8, late: bool) -> Fault {
        if limit < self.rate_limit_pct {
            Fault::RateLimited
        } else if error < self.error_pct {
            if late { Fault::After } else { Fault::Before }
        } else {
            Fault::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shares_of_a_hundred() {
        let faults = Faults::new(&FaultsConfig { error_pct: 30, rate_limit_pct: 50, ..FaultsConfig::default() });
        assert_eq!(faults.decide(49, 0, false), Fault::RateLimited);
        assert_eq!(faults.decide(50, 29, false), Fault::Before);
        assert_eq!(faults.decide(50, 29, true), Fault::After);
        assert_eq!(faults.decide(50, 30, true), Fault::None);
        assert_eq!(Faults::default().draw(), Fault::None);
        let always = Faults::new(&FaultsConfig { rate_limit_pct: 100, ..FaultsConfig::default() });
        assert_eq!(always.decide(99, 99, false), Fault::RateLimited);
    }
}
