//! Everything in one process, as `amends up` runs it.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Platform, Program, settings};
use crate::process::{free_port, program};

impl Platform {
    /// Starts `amends up` in a fresh data directory, on ports of its own that it keeps across restarts.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_with(json!({})).await
    }

    /// The same, with some configuration of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn embedded_with(more: Value) -> Result<Self> {
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
        settings::merge(&mut config, more);
        let file = dir.path().join("amends.toml");
        std::fs::write(&file, toml::to_string(&config)?)?;
        let data = dir.path().join("data").display().to_string();
        let common = ["--config".to_owned(), file.display().to_string(), "--data-dir".to_owned(), data.clone()];
        let with = |command: &str| [&[command.to_owned()], &common[..]].concat();
        let mut platform = Self {
            gateway,
            orders: Vec::new(),
            payment,
            inventory,
            acquirer: None,
            programs: vec![Program::new("amends", program("amends"), with("up"), admin)],
            proxies: BTreeMap::new(),
            stores: common.to_vec(),
            order_database: amends_sql::sqlite_url(&dir.path().join("data").join("order.db"))?,
            identity_database: amends_sql::sqlite_url(&dir.path().join("data").join("identity.db"))?,
            clients: Mutex::default(),
            dir,
        };
        platform.start_all().await?;
        Ok(platform)
    }
}
