//! The catalogue, as customers see it: a view of the inventory service.

use tokio::time::Instant;

use super::{Core, Failed};
use crate::{
    domain::{CatalogueItem, Sku},
    ports::{ItemsPage, ListItemsError},
};

/// Why the catalogue could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// There is no such item.
    #[error("there is no such item")]
    NotFound,
    /// The cursor is not one of ours.
    #[error("the cursor is not valid")]
    BadCursor,
    /// Not now.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Core {
    /// A page of the catalogue, in SKU order.
    ///
    /// # Errors
    /// When the cursor is bad or the inventory cannot be asked.
    pub async fn list_items(&self, limit: u16, cursor: Option<&str>, until: Instant) -> Result<ItemsPage, ItemsError> {
        self.inventory.list_items(limit, cursor, until).await.map_err(|error| match error {
            ListItemsError::BadCursor => ItemsError::BadCursor,
            ListItemsError::Unavailable(error) => ItemsError::Failed(Failed::Unavailable(error)),
        })
    }

    /// One item.
    ///
    /// # Errors
    /// When there is none, or the inventory cannot be asked.
    pub async fn get_item(&self, sku: &Sku, until: Instant) -> Result<CatalogueItem, ItemsError> {
        let item = self.inventory.item(sku, until).await.map_err(Failed::Unavailable)?;
        item.ok_or(ItemsError::NotFound)
    }
}
