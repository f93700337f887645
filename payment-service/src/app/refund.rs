//! Refund: gives money back, once per step key, never more in all than was captured: the amount is set aside in the payment's own
//! document before the processor is asked.

use super::{Error, Payments};
use crate::domain::{Payment, RefundAsked, decide_refund};

impl Payments {
    /// Gives money back.
    ///
    /// # Errors
    /// [`Error::Rejected`] when surely nothing was given back under this key; [`Error::Failed`] when it is in doubt.
    pub async fn refund(&self, asked: &RefundAsked) -> Result<Payment, Error> {
        self.settle(asked.payment_id, &asked.key, |payment| decide_refund(payment, asked)).await
    }
}
