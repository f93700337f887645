//! Where the stores are, and how tools open them: by the same configuration keys as the services.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amends_sql::{Database, Options, claim::sqlite_file, sqlite_url};
use amends_webhooks::{config::WebhooksConfig, store::WebhookStore};
use anyhow::Context as _;
use inventory_service::audit::Store as InventoryStore;
use order_service::saga::Journal;
use payment_service::{OpenedStore, config::ProcessorKind, processor::http::statement::Statement};
use serde_json::{Map, Value, json};
use service_base::config::{SecretUrl, Sources, load_from};

use crate::audit::{
    bank::Source,
    books::{Books, Kept},
};

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
    pub url: SecretUrl,
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
    let place = |name: Name, url: SecretUrl| Place { name, file: sqlite_file(url.expose()), url };
    Ok(vec![
        place(Name::Order, order.database.url),
        place(Name::Payment, payment.database.url),
        place(Name::Inventory, inventory.database.url),
        place(Name::Identity, identity.database.url),
    ])
}

/// Names the SQLite files of a data directory, below everything `sources` say.
///
/// # Errors
/// When the directory's path is not UTF-8.
pub fn in_directory(data_dir: &Path, sources: &mut Sources) -> anyhow::Result<()> {
    for store in Name::ALL {
        let url = sqlite_url(&data_dir.join(store.file_name()))?;
        add_base(sources, json!({store.section(): {"database": {"url": url}}}));
    }
    Ok(())
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

/// How long one statement of the audit may run: a sum over a whole table takes seconds where a service's statements take
/// milliseconds.
const AUDIT_STATEMENT_MAX: Duration = Duration::from_mins(5);

/// Opens what the audit compares: the three stores, and the bank's books where the payment service has its processor. Connects lazily;
/// changes nothing, and makes no file that is missing. To leave the bank out, as for a copy of the stores that is older than its
/// statement, set [`Books::bank`] to [`Source::LeftOut`].
///
/// # Errors
/// With every mistake in the sections of the three services.
pub async fn open(sources: &Sources) -> anyhow::Result<Books> {
    let order: order_service::Config = load_from("order", sources)?;
    let payment: payment_service::Config = load_from("payment", sources)?;
    let inventory: inventory_service::Config = load_from("inventory", sources)?;
    let options = Options { connections_max: 2, statement_timeout: AUDIT_STATEMENT_MAX, ..Options::looking() };
    let bank = match payment.processor.kind {
        ProcessorKind::Simulated => Source::Ledger,
        ProcessorKind::Http => {
            Source::Acquirer(Statement::new(&payment.processor.http).context("payment.processor.http")?)
        }
    };
    let days = |days: u64| (days > 0).then(|| Duration::from_hours(24 * days));
    Ok(Books {
        orders: Database::connect_lazy(order.database.url.expose(), &options)?,
        payments: OpenedStore::open_existing(&payment.database).await?.audit,
        inventory: InventoryStore::new(Database::connect_lazy(inventory.database.url.expose(), &options)?),
        bank,
        kept: Kept {
            keys: Duration::from_hours(order.limits.idempotency_hours),
            events: Duration::from_hours(order.limits.outbox_hours),
            sagas: days(order.saga.kept_days),
            steps: days(inventory.sweeper.keys_kept_days),
        },
    })
}

/// Opens the sagas' journal, which is in the order store. Connects lazily. Needs a tokio runtime.
///
/// # Errors
/// With every mistake in the section of the order service.
pub fn open_journal(sources: &Sources) -> anyhow::Result<Arc<Journal>> {
    let order: order_service::Config = load_from("order", sources)?;
    let options = Options { may_create: false, ..order.database_options() };
    let database = Database::connect_lazy(order.database.url.expose(), &options)?;
    Ok(order_service::journal(&database))
}

/// Opens the webhooks, which are in the payment store, and returns the configured endpoints. Connects lazily.
///
/// # Errors
/// With every mistake in the section of the payment service.
pub async fn open_webhooks(
    sources: &Sources,
) -> anyhow::Result<(Arc<dyn WebhookStore<Error = payment_service::StoreError>>, WebhooksConfig)> {
    let payment: payment_service::Config = load_from("payment", sources)?;
    Ok((OpenedStore::open_existing(&payment.database).await?.webhooks, payment.webhooks))
}
