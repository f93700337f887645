//! Filling the catalogue.

use super::Inventory;
use crate::{
    domain::{Item, NewItem},
    ports::{StoreError, Unputtable},
};

impl Inventory {
    /// Creates or changes an item.
    pub(crate) async fn put_item(&self, item: NewItem) -> Result<Result<Item, Unputtable>, StoreError> {
        self.store.put_item(item, self.now()).await
    }

    /// Creates the items that are missing and leaves the others alone; returns how many were missing.
    pub(crate) async fn seed(&self, items: Vec<NewItem>) -> Result<u64, StoreError> {
        if items.is_empty() {
            return Ok(0);
        }
        self.store.seed(items, self.now()).await
    }
}
