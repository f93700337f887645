//! Which faults the inventory service has: those of every call, and SKUs that are refused when they are reserved or committed.
//!
//! Must not know: how they are drawn and switched.

use std::sync::Arc;

use service_base::config::ConfigError;
use service_kit::faults::FaultsConfig;

use crate::domain::Sku;

/// Adds what is wrong with the names in it.
pub fn check(config: &FaultsConfig, errors: &mut Vec<ConfigError>) {
    for (key, names) in [("refuse", &config.refuse), ("refuse_commit_skus", &config.refuse_commit_skus)] {
        for (index, sku) in names.iter().enumerate() {
            if let Err(error) = sku.parse::<Sku>() {
                errors.push(ConfigError::new(format!("{key}[{index}]"), error.to_string()));
            }
        }
    }
}

/// The names as SKUs: [`check`] has seen to it that they are.
pub(crate) fn skus(names: &[String]) -> Arc<[Sku]> {
    names.iter().filter_map(|sku| sku.parse().ok()).collect()
}
