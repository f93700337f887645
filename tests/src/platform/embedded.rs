//! Everything in one process, as `amends up` runs it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Platform, Program, settings};
use crate::process::{Launch, free_port, program};

/// What is unusual about a platform in one process.
#[derive(Debug, Default)]
pub struct Setup {
    /// Configuration on top of the tests' own.
    pub settings: Value,
    /// Where its data is, instead of a folder of its own.
    pub data: Option<PathBuf>,
    /// How it is started.
    pub launch: Launch,
}

impl Platform {
    /// Starts `amends up` in a fresh data directory, on ports of its own that it keeps across restarts.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_as(Setup::default()).await
    }

    /// The same, with some configuration of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn embedded_with(settings: Value) -> Result<Self> {
        Self::embedded_as(Setup { settings, ..Setup::default() }).await
    }

    /// The same, somewhere else or in another way.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn embedded_as(setup: Setup) -> Result<Self> {
        let mut platform = Self::embedded_unstarted(setup)?;
        platform.start_all().await?;
        Ok(platform)
    }

    /// The same, not started yet: see [`Platform::try_start`]. Its one program is called `amends`.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn embedded_unstarted(setup: Setup) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("amends-embedded-").tempdir()?;
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (gateway, payment, inventory, admin) = (port(), port(), port(), port());
        let mut config = settings::shared();
        settings::merge(
            &mut config,
            json!({
                "gateway": {"listen": gateway}, "payment": {"grpc": {"listen": payment}}, "inventory": {"grpc": {"listen": inventory}},
                "identity": {"http": {"listen": port()}}, "order": {"http": {"listen": port()}, "grpc": {"listen": port()}},
                "admin": {"listen": admin},
            }),
        );
        if !setup.settings.is_null() {
            settings::merge(&mut config, setup.settings);
        }
        let file = dir.path().join("amends.toml");
        std::fs::write(&file, toml::to_string(&config)?)?;
        let data = setup.data.unwrap_or_else(|| dir.path().join("data"));
        let common =
            ["--config".to_owned(), file.display().to_string(), "--data-dir".to_owned(), data.display().to_string()];
        let with = |command: &str| [&[command.to_owned()], &common[..]].concat();
        let url = |store: &str| amends_sql::sqlite_url(&data.join(store));
        let mut amends = Program::new("amends", program("amends"), with("up"), admin);
        amends.launch = setup.launch;
        Ok(Self {
            gateway,
            orders: Vec::new(),
            payment,
            inventory,
            acquirer: None,
            programs: vec![amends],
            proxies: BTreeMap::new(),
            stores: common.to_vec(),
            order_database: url("order.db")?,
            identity_database: url("identity.db")?,
            inventory_database: url("inventory.db")?,
            payment_database: url("payment.db")?,
            data: Some(data),
            clients: Mutex::default(),
            dir,
        })
    }
}
