//! The configuration of a process that is all services at once: every section, read together, every mistake told together.

use amends_telemetry as telemetry;
use serde::{Deserialize, Serialize};
use service_base::config::{ConfigError, ConfigErrors, Section, Sources, load_from, unknown_sections};
use service_kit::admin;

/// Every section there is.
pub const SECTIONS: [&str; 9] =
    ["gateway", "identity", "order", "payment", "inventory", "acquirer", "embedded", "admin", "telemetry"];

/// `[embedded]`: what is only a question where all services are one process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Composition {
    /// How the order service calls its participants.
    pub join: Join,
}

/// How one service calls another in the same process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// The other's server, without a connection.
    #[default]
    Memory,
    /// Over connections to the other's listener, as between processes.
    Loopback,
}

impl Section for Composition {
    fn validate(&self, _: &mut Vec<ConfigError>) {}
}

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
    /// `[embedded]`
    pub embedded: Composition,
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
            let embedded = read("embedded", sources, &mut mistakes);
            let admin = read("admin", sources, &mut mistakes);
            let telemetry = read("telemetry", sources, &mut mistakes);
            Some(Self {
                gateway: gateway?,
                identity: identity?,
                order: order?,
                payment: payment?,
                inventory: inventory?,
                embedded: embedded?,
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
        defaults::<Composition>("embedded"),
        defaults::<admin::Config>("admin"),
        defaults::<telemetry::Config>("telemetry"),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use service_base::config::SecretUrl;

    use super::*;

    /// A section with `url` at every key that holds the URL of a store.
    fn with_urls<T: Section + std::fmt::Debug>(set: impl FnOnce(&mut T, &SecretUrl)) {
        let url = SecretUrl::from("postgres://host/db?user=u&password=hunter2");
        let mut config = T::default();
        set(&mut config, &url);
        let shown = format!("{config:?} {config:#?} {}", serde_json::to_string(&config).unwrap());
        assert!(shown.contains("postgres://host/db") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn no_section_shows_the_password_of_a_store() {
        with_urls(|config: &mut gateway::Config, url| config.redis_url = url.clone());
        with_urls(|config: &mut acquirer::Config, url| config.database.url = url.clone());
        macro_rules! with_both {
            ($($service:ident)*) => {$(
                with_urls(|config: &mut $service::Config, url| config.database.url = url.clone());
                with_urls(|config: &mut $service::Config, url| config.redis_url = url.clone());
            )*};
        }
        with_both!(identity_service order_service payment_service inventory_service);
    }

    fn accepts_former_names<T: Section>(section: &str, required: &[(&str, &str)]) {
        let mut sources = Sources::none();
        sources.sets = required.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let usual = serde_json::to_value(T::default()).unwrap();
        assert!(!T::RENAMED.is_empty());
        for (old, new) in T::RENAMED {
            // The default, so that whatever it has to agree with still does.
            let default = usual.pointer(&format!("/{}", new.replace('.', "/"))).unwrap_or_else(|| panic!("no {new}"));
            let former = sources.clone().set(format!("{section}.{old}"), default);
            load_from::<T>(section, &former).map(drop).unwrap();
            let both = former.set(format!("{section}.{new}"), default);
            let mistakes = load_from::<T>(section, &both).map(drop).unwrap_err();
            assert!(mistakes.to_string().contains("which is given too"), "{mistakes}");
        }
    }

    #[test]
    fn former_names_of_keys_are_accepted() {
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        accepts_former_names::<identity_service::Config>("identity", &[("identity.key_encryption_key", key)]);
        accepts_former_names::<payment_service::Config>("payment", &[]);
        accepts_former_names::<acquirer::Config>("acquirer", &[("acquirer.secret", "sixteen-and-more")]);
    }

    #[test]
    fn durations_in_seconds_end_in_secs() {
        assert_eq!(defaults().lines().filter(|line| line.contains("_seconds =")).collect::<Vec<_>>(), [""; 0]);
    }
}
