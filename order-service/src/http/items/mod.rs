//! `/v1/items`: the catalogue, a view of the inventory service.

pub mod get;
pub mod list;

use serde::Serialize;
use utoipa::ToSchema;

use super::orders::MoneyView;
use crate::domain::CatalogueItem;

/// One article.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Item)]
pub struct ItemView {
    /// Which.
    #[schema(example = "espresso-1kg")]
    sku: String,
    /// What people call it.
    name: String,
    /// The price of one.
    unit_price: MoneyView,
    /// How many can be ordered now.
    available: i64,
    /// How many open orders hold.
    reserved: i64,
}

impl From<CatalogueItem> for ItemView {
    fn from(item: CatalogueItem) -> Self {
        Self {
            sku: item.sku.into(),
            name: item.name,
            unit_price: item.unit_price.into(),
            available: item.available,
            reserved: item.reserved,
        }
    }
}
