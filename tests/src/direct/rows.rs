//! The rows themselves, as SQL and MongoDB give them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result};
use futures::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, Row, SqliteConnection,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use crate::platform::Platform;

/// SKU and quantity, summed.
pub(super) type Goods = BTreeMap<String, i64>;

pub(super) struct Order {
    pub(super) customer: String,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) currency: String,
    pub(super) total: i64,
    pub(super) goods: Goods,
}

pub(super) struct Payment {
    pub(super) id: String,
    pub(super) order: String,
    pub(super) currency: String,
    pub(super) captured: i64,
    pub(super) refunded: i64,
}

pub(super) struct Reservation {
    pub(super) order: String,
    pub(super) state: String,
    pub(super) goods: Goods,
}

pub(super) struct Item {
    pub(super) on_hand: i64,
    pub(super) reserved: i64,
}

pub(super) struct Rows {
    pub(super) orders: BTreeMap<String, Order>,
    pub(super) payments: Vec<Payment>,
    pub(super) reservations: BTreeMap<String, Reservation>,
    pub(super) items: BTreeMap<String, Item>,
    pub(super) sagas_at_work: Vec<(String, String)>,
    /// Taken less given back, by the acquirer's own statement.
    pub(super) bank_minor: i64,
}

/// Where the stores are.
pub(super) struct Places {
    orders: String,
    inventory: String,
    payments: String,
    ledger: PathBuf,
}

impl Places {
    pub(super) fn of(platform: &Platform) -> Self {
        Self {
            orders: platform.order_database.clone(),
            inventory: platform.inventory_database.clone(),
            payments: platform.payment_database().to_owned(),
            ledger: platform.acquirer_ledger(),
        }
    }

    /// Of a data directory.
    pub(super) fn below(folder: &Path) -> Result<Self> {
        let url = |file: &str| amends_sql::sqlite_url(&folder.join(file));
        Ok(Self {
            orders: url("order.db")?,
            inventory: url("inventory.db")?,
            payments: url("payment.db")?,
            ledger: folder.join("acquirer.db"),
        })
    }
}

/// What SQLite finds wrong with a file; opening it recovers what its `-wal` holds.
pub(super) async fn damage_of(file: &Path) -> Result<Vec<String>> {
    let found = Store::of_file(file).await?.all("PRAGMA integrity_check", 1).await?;
    Ok(found.into_iter().flatten().filter(|line| line != "ok").collect())
}

impl Rows {
    pub(super) async fn read(places: &Places) -> Result<Self> {
        let mut order_store = Store::open(&places.orders).await.context("orders")?;
        let mut orders = BTreeMap::new();
        for row in order_store
            .all("SELECT id, customer_id, idempotency_key, status, currency, CAST(total_minor AS TEXT), lines FROM orders", 7)
            .await?
        {
            let [id, customer, key, status, currency, total, lines] = array(row)?;
            let (total, goods) = (total.parse()?, goods(&lines)?);
            orders.insert(id, Order { customer, key, status, currency, total, goods });
        }
        let at_work = "SELECT id, status FROM sagas WHERE status IN ('running', 'unwinding', 'parked')";
        let sagas_at_work = order_store.all(at_work, 2).await?.into_iter().map(|row| Ok(array(row)?.into()));
        let sagas_at_work = sagas_at_work.collect::<Result<Vec<(String, String)>>>()?;

        let mut inventory = Store::open(&places.inventory).await.context("inventory")?;
        let mut reservations = BTreeMap::new();
        for row in inventory.all("SELECT id, order_id, state, lines FROM reservations", 4).await? {
            let [id, order, state, lines] = array(row)?;
            reservations.insert(id, Reservation { order, state, goods: goods(&lines)? });
        }
        let mut items = BTreeMap::new();
        for row in inventory.all("SELECT sku, CAST(on_hand AS TEXT), CAST(reserved AS TEXT) FROM items", 3).await? {
            let [sku, on_hand, reserved] = array(row)?;
            items.insert(sku, Item { on_hand: on_hand.parse()?, reserved: reserved.parse()? });
        }
        let payments = match places.payments.split_once(' ') {
            Some((url, name)) => payments_of_mongo(url, name).await.context("payments in MongoDB")?,
            None => payments_of_sqlite(&places.payments).await.context("payments in SQLite")?,
        };
        let bank_minor = on_statement(&places.ledger).await.context("the acquirer's ledger")?;
        Ok(Self { orders, payments, reservations, items, sagas_at_work, bank_minor })
    }
}

/// What is in the lines of a row.
fn goods(lines: &str) -> Result<Goods> {
    let (lines, mut goods): (Vec<serde_json::Value>, _) = (serde_json::from_str(lines)?, Goods::new());
    for line in &lines {
        let (sku, quantity) = (line["sku"].as_str(), line["quantity"].as_i64());
        *goods.entry(sku.context("a line without an article")?.to_owned()).or_default() += quantity.context("units")?;
    }
    Ok(goods)
}

fn array<const N: usize>(row: Vec<String>) -> Result<[String; N]> {
    row.try_into().map_err(|row: Vec<String>| anyhow::anyhow!("{} columns instead of {N}", row.len()))
}

async fn payments_of_sqlite(url: &str) -> Result<Vec<Payment>> {
    let mut store = Store::open(url).await?;
    let sql = "SELECT payment_id, order_id, document ->> '$.currency', CAST(document ->> '$.captured_minor' AS TEXT),
        CAST(document ->> '$.refunded_minor' AS TEXT) FROM payments WHERE kind = 'payment'";
    let payments = store.all(sql, 5).await?.into_iter().map(|row| {
        let [id, order, currency, captured, refunded] = array(row)?;
        Ok(Payment { id, order, currency, captured: captured.parse()?, refunded: refunded.parse()? })
    });
    payments.collect()
}

async fn payments_of_mongo(url: &str, name: &str) -> Result<Vec<Payment>> {
    let client = mongodb::Client::with_uri_str(url).await?;
    let found = client.database(name).collection::<Document>("payments").find(doc! {"kind": "payment"}).await?;
    let documents: Vec<Document> = found.try_collect().await?;
    let payments = documents.into_iter().map(|document| {
        Ok(Payment {
            id: document.get_str("payment_id")?.to_owned(),
            order: document.get_str("order_id")?.to_owned(),
            currency: document.get_str("currency")?.to_owned(),
            captured: document.get_i64("captured_minor")?,
            refunded: document.get_i64("refunded_minor")?,
        })
    });
    let payments = payments.collect::<Result<Vec<_>>>();
    client.shutdown().await;
    payments
}

async fn on_statement(ledger: &Path) -> Result<i64> {
    let mut store = Store::of_file(ledger).await?;
    let sql = "SELECT CAST(COALESCE(SUM(CASE kind WHEN 'capture' THEN amount_minor ELSE -amount_minor END), 0) AS TEXT)
        FROM acquirer_movements";
    let [moved] = array(store.all(sql, 1).await?.into_iter().next().context("no sum")?)?;
    Ok(moved.parse()?)
}

/// A connection to one store, and no pool: nothing of ours is between the rows and us.
enum Store {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Store {
    async fn open(url: &str) -> Result<Self> {
        match amends_sql::claim::sqlite_file(url) {
            Some(file) => Self::of_file(&file).await,
            None => Ok(Self::Postgres(PgConnection::connect(url).await?)),
        }
    }

    async fn of_file(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::from_str("sqlite://")?.filename(file);
        let connection = SqliteConnection::connect_with(&options).await;
        Ok(Self::Sqlite(connection.with_context(|| file.display().to_string())?))
    }

    /// Every row, each column as text; a NULL is empty.
    async fn all(&mut self, sql: &str, columns: usize) -> Result<Vec<Vec<String>>> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(connection) => {
                let rows: Vec<SqliteRow> = sqlx::query(sql).fetch_all(connection).await?;
                rows.iter().map(|row| texts(columns, |at| row.try_get(at))).collect::<Result<_, _>>()?
            }
            Self::Postgres(connection) => {
                let rows: Vec<PgRow> = sqlx::query(sql).fetch_all(connection).await?;
                rows.iter().map(|row| texts(columns, |at| row.try_get(at))).collect::<Result<_, _>>()?
            }
        })
    }
}

fn texts(
    columns: usize,
    get: impl Fn(usize) -> Result<Option<String>, sqlx::Error>,
) -> Result<Vec<String>, sqlx::Error> {
    (0..columns).map(|at| get(at).map(Option::unwrap_or_default)).collect()
}
