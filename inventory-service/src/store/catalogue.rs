//! Rows of items.

use std::collections::BTreeMap;

use amends_primitives::Timestamp;
use amends_sql::{Database, Dialect, SqlError, Tx};
use async_trait::async_trait;
use sqlx::{Any, AssertSqlSafe, Executor};

use super::{Work, text};
use crate::{
    domain::{Item, NewItem, Sku, Stock},
    ports::{ItemPage, StoreError, Unputtable},
};

type Row = (String, String, i64, String, i64, i64);

const COLUMNS: &str = "sku, name, price_minor, currency, on_hand, reserved";

fn item((sku, name, price_minor, currency, on_hand, reserved): Row) -> Result<Item, SqlError> {
    Ok(Item {
        sku: text::parsed(&sku, "sku")?,
        name,
        unit_price: text::money(price_minor, &currency)?,
        stock: Stock::try_new(on_hand, reserved).ok_or(SqlError::Corrupt { what: "stock" })?,
    })
}

/// The items of these SKUs, for a decision. `locked`: in SKU order, so that what is decided still holds when it is written.
pub(super) async fn read<'s>(
    tx: &mut Tx,
    dialect: Dialect,
    skus: impl ExactSizeIterator<Item = &'s Sku>,
    locked: bool,
) -> Result<BTreeMap<Sku, Item>, SqlError> {
    let items = named(&mut **tx, skus, if locked { dialect.for_update() } else { "" }).await?;
    Ok(items.into_iter().map(|item| (item.sku.clone(), item)).collect())
}

async fn named<'c, 's>(
    executor: impl Executor<'c, Database = Any>,
    skus: impl ExactSizeIterator<Item = &'s Sku>,
    suffix: &str,
) -> Result<Vec<Item>, SqlError> {
    let sql = format!("SELECT {COLUMNS} FROM items WHERE sku IN {} ORDER BY sku{suffix}", text::list(1, skus.len()));
    let query = skus.fold(sqlx::query_as(AssertSqlSafe(sql)), |query, sku| query.bind(sku.as_str()));
    query.fetch_all(executor).await?.into_iter().map(item).collect()
}

pub(super) async fn items(database: &Database, skus: &[Sku]) -> Result<Vec<Item>, StoreError> {
    if skus.is_empty() {
        return Ok(Vec::new());
    }
    Ok(database.bounded(named(database.reader(), skus.iter(), "")).await?)
}

pub(super) async fn list(database: &Database, after: Option<&Sku>, limit: usize) -> Result<ItemPage, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM items WHERE sku > $1 ORDER BY sku LIMIT $2");
    let query = sqlx::query_as(AssertSqlSafe(sql))
        .bind(after.map_or("", Sku::as_str).to_owned())
        // One more than asked for tells whether there is more.
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let rows = async { Ok::<_, StoreError>(query.fetch_all(database.reader()).await?) };
    let rows: Vec<Row> = database.bounded(rows).await?;
    let mut items = rows.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.sku.clone());
    Ok(ItemPage { items, next })
}

pub(super) struct PutItem {
    pub(super) item: NewItem,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for PutItem {
    type Output = Result<Item, Unputtable>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let sql = format!(
            "INSERT INTO items (sku, name, price_minor, currency, on_hand, reserved, updated_at) VALUES ($1, $2, $3, $4, $5, 0, $6) \
             ON CONFLICT (sku) DO UPDATE SET name = excluded.name, price_minor = excluded.price_minor, \
             currency = excluded.currency, on_hand = excluded.on_hand, updated_at = excluded.updated_at \
             WHERE items.reserved <= excluded.on_hand RETURNING {COLUMNS}"
        );
        let put = sqlx::query_as(AssertSqlSafe(sql))
            .bind(self.item.sku().as_str())
            .bind(self.item.name())
            .bind(self.item.unit_price().amount_minor())
            .bind(self.item.unit_price().currency().code().to_owned())
            .bind(self.item.on_hand())
            .bind(self.now.as_micros())
            .fetch_optional(&mut **tx)
            .await?;
        if let Some(row) = put {
            return Ok(Ok(item(row)?));
        }
        let sku = self.item.sku().clone();
        let reserved =
            read(tx, dialect, [&sku].into_iter(), false).await?.get(&sku).map_or(0, |item| item.stock.reserved());
        Ok(Err(Unputtable { sku, reserved }))
    }
}

pub(super) struct Seed {
    pub(super) items: Vec<NewItem>,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Seed {
    type Output = u64;

    async fn run_in_tx(&self, tx: &mut Tx, _: Dialect) -> Result<u64, SqlError> {
        // Databases bound the number of parameters of one statement.
        const ROWS_MAX: usize = 1000;
        let mut created = 0;
        for items in self.items.chunks(ROWS_MAX) {
            let sql = format!(
                "INSERT INTO items (sku, name, price_minor, currency, on_hand, updated_at) VALUES {} ON CONFLICT DO NOTHING",
                text::rows(1, items.len(), 6)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for item in items {
                query = query
                    .bind(item.sku().as_str())
                    .bind(item.name())
                    .bind(item.unit_price().amount_minor())
                    .bind(item.unit_price().currency().code().to_owned())
                    .bind(item.on_hand())
                    .bind(self.now.as_micros());
            }
            created += query.execute(&mut **tx).await?.rows_affected();
        }
        Ok(created)
    }
}
