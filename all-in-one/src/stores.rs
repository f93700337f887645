//! Where the stores are, and how tools open them: by the same configuration keys as the services.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use amends_sql::{Database, claim::sqlite_file};
use inventory_service::store::Store as InventoryStore;
use order_service::saga::Journal;
use payment_service::{OpenedStore, store::webhooks::WebhookStore, webhooks::config::WebhooksConfig};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use service_kit::config::{Sources, load_from};

use crate::audit::books::Books;

/// A store of a shop, in the order in which locks on several are taken: always this one, so that two that do cannot wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Orders and their sagas.
    Order,
    /// Payments, and the books of the simulated acquirer.
    Payment,
    /// Stock and reservations.
    Inventory,
    /// Users, clients, keys, sessions.
    Identity,
}

impl Name {
    /// Every store.
    pub const ALL: [Self; 4] = [Self::Order, Self::Payment, Self::Inventory, Self::Identity];

    /// The section that configures it, which is also what people call it.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Inventory => "inventory",
            Self::Identity => "identity",
        }
    }

    /// Its file in a data directory and in a backup.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Order => "order.db",
            Self::Payment => "payment.db",
            Self::Inventory => "inventory.db",
            Self::Identity => "identity.db",
        }
    }
}

/// Where a store is.
#[derive(Clone)]
pub struct Place {
    /// Which store.
    pub name: Name,
    /// As configured. May hold a password.
    pub url: SecretString,
    /// Its file, where it is SQLite's.
    pub file: Option<PathBuf>,
}

/// Where the configuration puts each store, in the order of [`Name::ALL`].
///
/// # Errors
/// With every mistake in a section.
pub fn places(sources: &Sources) -> anyhow::Result<Vec<Place>> {
    let order: order_service::Config = load_from("order", sources)?;
    let payment: payment_service::Config = load_from("payment", sources)?;
    let inventory: inventory_service::Config = load_from("inventory", sources)?;
    let identity: identity_service::Config = load_from("identity", sources)?;
    let place = |name: Name, url: &str| Place { name, url: url.into(), file: sqlite_file(url) };
    Ok(vec![
        place(Name::Order, order.database.url.expose_secret()),
        place(Name::Payment, payment.database.url.expose()),
        place(Name::Inventory, inventory.database.url.expose()),
        place(Name::Identity, identity.database.url.expose()),
    ])
}

/// Names the SQLite files of a data directory, below everything `sources` say.
pub fn in_directory(data_dir: &Path, sources: &mut Sources) {
    for store in Name::ALL {
        add_base(sources, json!({store.section(): {"database": {"url": file_url(&data_dir.join(store.file_name()))}}}));
    }
}

/// The URL of a SQLite file, which is made if it is missing.
pub fn file_url(file: &Path) -> String {
    format!("sqlite://{}?mode=rwc", file.display())
}

/// Adds to the lowest layer of the configuration.
pub fn add_base(sources: &mut Sources, decided: Value) {
    merge(&mut sources.base, decided);
}

fn merge(into: &mut Map<String, Value>, from: Value) {
    let Value::Object(from) = from else { return };
    for (key, value) in from {
        match into.get_mut(&key) {
            Some(Value::Object(inner)) if value.is_object() => merge(inner, value),
            _ => {
                into.insert(key, value);
            }
        }
    }
}

/// Opens the three stores that the audit compares. Connects lazily; changes nothing.
///
/// # Errors
/// With every mistake in the sections of the three services.
pub async fn open(sources: &Sources) -> anyhow::Result<Books> {
    let order: order_service::Config = load_from("order", sources)?;
    let payment: payment_service::Config = load_from("payment", sources)?;
    let inventory: inventory_service::Config = load_from("inventory", sources)?;
    Ok(Books {
        orders: Database::connect_lazy(order.database.url.expose_secret(), &amends_sql::Options::default())?,
        payments: OpenedStore::open(&payment.database).await?.payments,
        inventory: InventoryStore::new(Database::connect_lazy(
            inventory.database.url.expose(),
            &inventory.database.options(),
        )?),
    })
}

/// Opens the sagas' journal, which is in the order store. Connects lazily. Needs a tokio runtime.
///
/// # Errors
/// With every mistake in the section of the order service.
pub fn open_journal(sources: &Sources) -> anyhow::Result<Arc<Journal>> {
    let order: order_service::Config = load_from("order", sources)?;
    let database = Database::connect_lazy(order.database.url.expose_secret(), &order.database_options())?;
    Ok(order_service::journal(&database))
}

/// Opens the webhooks, which are in the payment store, and tells who is configured. Connects lazily.
///
/// # Errors
/// With every mistake in the section of the payment service.
pub async fn open_webhooks(sources: &Sources) -> anyhow::Result<(Arc<dyn WebhookStore>, WebhooksConfig)> {
    let payment: payment_service::Config = load_from("payment", sources)?;
    Ok((OpenedStore::open(&payment.database).await?.webhooks, payment.webhooks))
}
