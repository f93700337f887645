//! Which faults the acquirer has: those of every request, and payment methods that are declined.
//!
//! Must not know: how they are drawn and switched.

use service_base::config::ConfigError;
use service_kit::faults::FaultsConfig;

use crate::domain::Method;

/// Adds what is wrong with the names in it.
pub(crate) fn check(config: &FaultsConfig, errors: &mut Vec<ConfigError>) {
    for (index, method) in config.refuse.iter().enumerate() {
        if let Err(error) = Method::try_new(method) {
            errors.push(ConfigError::new(format!("refuse[{index}]"), error.to_string()));
        }
    }
    if !config.refuse_commit_skus.is_empty() {
        errors.push(ConfigError::new("refuse_commit_skus", "is for the inventory service"));
    }
}
