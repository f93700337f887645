//! Capture and void: the two ways in which a hold ends, once. The intent is recorded in the payment's own document before the
//! processor is asked, so that of a capture and a void that meet exactly one is done.

use super::{Error, Payments};
use crate::domain::{Payment, SettlementAsked, decide_settlement};

impl Payments {
    /// Captures or voids what is held.
    ///
    /// # Errors
    /// [`Error::Rejected`] when it surely had no effect under this key; [`Error::Failed`] when it is in doubt.
    pub async fn end(&self, asked: &SettlementAsked) -> Result<Payment, Error> {
        self.settle(asked.payment_id, &asked.key, |payment| decide_settlement(payment, asked)).await
    }
}
