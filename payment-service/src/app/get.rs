//! GetPayment: one payment by its id.

use amends_primitives::PaymentId;

use super::{Error, Payments};
use crate::domain::{Payment, Rejection};

impl Payments {
    /// The payment of that id.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn get(&self, id: PaymentId) -> Result<Payment, Error> {
        self.store.find(id).await?.ok_or_else(|| Rejection::PaymentNotFound(id).into())
    }
}
