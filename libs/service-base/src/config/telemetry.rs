//! The telemetry crate's section: it is below configuration, and knows only its own keys.

use amends_telemetry as telemetry;

use super::{ConfigError, Section};

impl Section for telemetry::Config {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
        ("OTEL_SERVICE_NAME", "telemetry.service_name"),
        ("RUST_LOG", "telemetry.filter"),
    ];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        for (key, message) in self.mistakes() {
            errors.push(ConfigError::new(key, message));
        }
    }
}
