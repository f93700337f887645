//! Reading the catalogue.

use super::Inventory;
use crate::{
    domain::{Item, Sku},
    ports::{ItemPage, StoreError},
};

impl Inventory {
    /// The items of these SKUs that exist.
    pub(crate) async fn items(&self, skus: &[Sku]) -> Result<Vec<Item>, StoreError> {
        self.store.items(skus).await
    }

    /// A page of the catalogue.
    pub(crate) async fn list_items(&self, after: Option<&Sku>, limit: usize) -> Result<ItemPage, StoreError> {
        self.store.list_items(after, limit).await
    }
}
