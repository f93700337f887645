//! Where the stores are, and how tools open them: by the same configuration keys as the services.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use acquirer::store::SqlLedger;
use amends_primitives::{Clock, SystemClock};
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
    /// Payments.
    Payment,
    /// The books of the simulated acquirer, where it is in the payment service.
    Acquirer,
    /// Stock and reservations.
    Inventory,
    /// Users, clients, keys, sessions.
    Identity,
}

impl Name {
    /// Every store.
    pub const ALL: [Self; 5] = [Self::Order, Self::Payment, Self::Acquirer, Self::Inventory, Self::Identity];

    /// What people call it.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Acquirer => "acquirer",
            Self::Inventory => "inventory",
            Self::Identity => "identity",
        }
    }

    /// The configuration key that says where it is.
    pub const fn url_key(self) -> &'static str {
        match self {
            Self::Order => "order.database.url",
            Self::Payment => "payment.database.url",
            Self::Acquirer => "payment.processor.ledger_url",
            Self::Inventory => "inventory.database.url",
            Self::Identity => "identity.database.url",
        }
    }

    /// Its file in a data directory and in a backup.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Order => "order.db",
            Self::Payment => "payment.db",
            Self::Acquirer => "acquirer.db",
            Self::Inventory => "inventory.db",
            Self::Identity => "identity.db",
        }
    }
}

/// The stores whose files are in a folder of copies.
pub fn files_in(folder: &Path) -> impl Iterator<Item = (Name, PathBuf)> {
    Name::ALL.into_iter().map(|store| (store, folder.join(store.file_name()))).filter(|(_, file)| file.exists())
}

/// Where a store is.
#[derive(Clone)]
pub struct StoreLocation {
    /// Which store.
    pub name: Name,
    /// As configured. May hold a password.
    pub url: SecretUrl,
    /// Its file, where it is SQLite's.
    pub file: Option<PathBuf>,
}

/// Where the configuration puts each store, in the order of [`Name::ALL`]. Without the acquirer's, where it is another party and has left
/// no books from an earlier time.
///
/// # Errors
/// With every mistake in a section.
pub fn locations(sources: &Sources) -> anyhow::Result<Vec<StoreLocation>> {
    let order: order_service::Config = load_from("order", sources)?;
    let payment: payment_service::Config = load_from("payment", sources)?;
    let inventory: inventory_service::Config = load_from("inventory", sources)?;
    let identity: identity_service::Config = load_from("identity", sources)?;
    locations_of(&order, &payment, &inventory, &identity)
}

/// The same, of configurations that have been read.
///
/// # Errors
/// When the path of a file is not UTF-8.
pub fn locations_of(
    order: &order_service::Config,
    payment: &payment_service::Config,
    inventory: &inventory_service::Config,
    identity: &identity_service::Config,
) -> anyhow::Result<Vec<StoreLocation>> {
    let location =
        |name: Name, url: &SecretUrl| StoreLocation { name, file: sqlite_file(url.expose()), url: url.clone() };
    let acquirer = ledger_of(payment)?.map(|url| location(Name::Acquirer, &url.as_str().into()));
    let locations = [
        Some(location(Name::Order, &order.database.url)),
        Some(location(Name::Payment, &payment.database.url)),
        acquirer,
        Some(location(Name::Inventory, &inventory.database.url)),
        Some(location(Name::Identity, &identity.database.url)),
    ];
    Ok(locations.into_iter().flatten().collect())
}

/// Where the books of the simulated acquirer are, if there are any.
fn ledger_of(payment: &payment_service::Config) -> anyhow::Result<Option<String>> {
    let url = payment.ledger_url()?;
    let there = || sqlite_file(&url).is_some_and(|file| file.exists());
    Ok((payment.processor.kind == ProcessorKind::Simulated || there()).then_some(url))
}

/// Names the SQLite files of a data directory, below everything `sources` say.
///
/// # Errors
/// When the directory's path is not UTF-8.
pub fn in_directory(data_dir: &Path, sources: &mut Sources) -> anyhow::Result<()> {
    for store in Name::ALL {
        let url = json!(sqlite_url(&data_dir.join(store.file_name()))?);
        add_base(sources, store.url_key().rsplit('.').fold(url, |value, part| json!({part: value})));
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

/// Opens what the audit compares: the three stores, the books of the simulated acquirer, and the bank's where that is another party. Connects lazily;
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
        ProcessorKind::Simulated => Source::Simulated,
        ProcessorKind::Http => {
            Source::Acquirer(Statement::new(&payment.processor.http).context("payment.processor.http")?)
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ledger = ledger_of(&payment)?.map(|url| SqlLedger::open(&url, &options, clock)).transpose()?;
    let days = |days: u64| (days > 0).then(|| Duration::from_hours(24 * days));
    Ok(Books {
        orders: Database::connect_lazy(order.database.url.expose(), &options)?,
        payments: OpenedStore::open_existing(&payment.database).await?.audit,
        inventory: InventoryStore::new(Database::connect_lazy(inventory.database.url.expose(), &options)?),
        ledger,
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
