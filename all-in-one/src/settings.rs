//! The configuration of a process that is all services at once: every section, read together, every mistake told together.

use amends_telemetry as telemetry;
use service_base::config::{ConfigError, ConfigErrors, Section, Sources, load_from, unknown_sections};
use service_kit::admin;

/// Every section there is.
pub const SECTIONS: [&str; 8] =
    ["gateway", "identity", "order", "payment", "inventory", "acquirer", "admin", "telemetry"];

/// Every section, read and valid.
pub struct Settings {
    /// `[gateway]`
    pub gateway: gateway::Config,
    /// `[identity]`
    pub identity: identity_service::Config,
    /// `[order]`
    pub order: order_service::Config,
    /// `[payment]`
    pub payment: payment_service::Config,
    /// `[inventory]`
    pub inventory: inventory_service::Config,
    /// `[admin]`
    pub admin: admin::Config,
    /// `[telemetry]`
    pub telemetry: telemetry::Config,
}

impl Settings {
    /// Reads every section.
    ///
    /// # Errors
    /// With every mistake in any of them.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut mistakes = unknown_sections(&SECTIONS, sources);
        let settings = (|| {
            // Read every section before giving up, so that all mistakes are told at once.
            let gateway = read("gateway", sources, &mut mistakes);
            let identity = read("identity", sources, &mut mistakes);
            let order = read("order", sources, &mut mistakes);
            let payment = read("payment", sources, &mut mistakes);
            let inventory = read("inventory", sources, &mut mistakes);
            let admin = read("admin", sources, &mut mistakes);
            let telemetry = read("telemetry", sources, &mut mistakes);
            Some(Self {
                gateway: gateway?,
                identity: identity?,
                order: order?,
                payment: payment?,
                inventory: inventory?,
                admin: admin?,
                telemetry: telemetry?,
            })
        })();
        match settings {
            Some(settings) if mistakes.is_empty() => Ok(settings),
            _ => {
                mistakes.sort();
                mistakes.dedup();
                Err(ConfigErrors(mistakes))
            }
        }
    }
}

fn read<T: Section>(section: &str, sources: &Sources, mistakes: &mut Vec<ConfigError>) -> Option<T> {
    load_from(section, sources).map_err(|errors| mistakes.extend(errors.0)).ok()
}

/// The defaults of every section as TOML, for `amends config`.
pub fn defaults() -> String {
    use service_base::config::defaults;
    [
        defaults::<gateway::Config>("gateway"),
        defaults::<identity_service::Config>("identity"),
        defaults::<order_service::Config>("order"),
        defaults::<payment_service::Config>("payment"),
        defaults::<inventory_service::Config>("inventory"),
        defaults::<acquirer::Config>("acquirer"),
        defaults::<admin::Config>("admin"),
        defaults::<telemetry::Config>("telemetry"),
    ]
    .join("\n")
}
