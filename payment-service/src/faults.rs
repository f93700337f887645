//! Which faults the payment service has: those of every call, and payment methods that are declined.
//!
//! Must not know: how they are drawn and switched.

use service_base::config::ConfigError;
use service_kit::faults::FaultsConfig;

use crate::domain::PaymentMethod;

/// Adds what is wrong with the names in it.
pub fn check(config: &FaultsConfig, errors: &mut Vec<ConfigError>) {
    for (index, method) in config.refuse.iter().enumerate() {
        if let Err(error) = PaymentMethod::try_new(method) {
            errors.push(ConfigError::new(format!("refuse[{index}]"), error.to_string()));
        }
    }
    if !config.refuse_commit_skus.is_empty() {
        errors.push(ConfigError::new("refuse_commit_skus", "is for the inventory service"));
    }
}

/// As [`check`], where the acquirer declines payment methods.
pub(crate) fn check_declining_elsewhere(config: &FaultsConfig, errors: &mut Vec<ConfigError>) {
    check(config, errors);
    if !config.refuse.is_empty() {
        errors.push(ConfigError::new("refuse", "payment methods are declined by the acquirer: `acquirer.refuse`"));
    }
}
