//! ListPayments: pages in the order of ids, or of time; also how an audit streams all of them.

use super::{Error, Payments};
use crate::store::{ListQuery, Page};

impl Payments {
    /// One page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, query: &ListQuery) -> Result<Page, Error> {
        Ok(self.store.list(query).await?)
    }
}
