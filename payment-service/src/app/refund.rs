//! Refund: gives money back, once per step key, never more in all than was captured: the amount is set aside in the payment's own
//! document before the processor is asked.

use super::{Error, Failure, Payments, ROUNDS_MAX};
use crate::{
    domain::{Payment, Record, RefundAsked, RefundNext, Rejection, next_for_refund},
    store::StoreError,
};

impl Payments {
    /// Gives money back.
    ///
    /// # Errors
    /// [`Error::Rejected`] when surely nothing was given back under this key; [`Error::Failed`] when nobody knows.
    pub async fn refund(&self, asked: &RefundAsked) -> Result<Payment, Error> {
        let not_found = || Rejection::PaymentNotFound(asked.payment_id);
        let mut payment = self.store.find(asked.payment_id).await?.ok_or_else(not_found)?;
        let mut newest = false;
        for _ in 0..ROUNDS_MAX {
            let next = match next_for_refund(&payment, asked) {
                // A lookup by id may be of a moment ago; a refusal is not given on hearsay.
                Err(_) if !newest => {
                    newest = true;
                    payment = expect_payment(self.reload(&payment.charge.key).await?)?;
                    continue;
                }
                next => next?,
            };
            let event = match next {
                RefundNext::Answer(payment) => return Ok(payment),
                RefundNext::Record(event) => event,
                RefundNext::AskProcessor(refund) => self.ask_refund(&payment, &refund).await?,
            };
            newest = true;
            payment = match self.record(&payment, &event).await {
                Ok(record) => expect_payment(record)?,
                Err(Failure::Store(StoreError::RefundKeyTaken)) => {
                    return Err(Rejection::StepKeyReused(asked.key.clone()).into());
                }
                Err(error) => return Err(error.into()),
            };
        }
        Err(StoreError::Contended.into())
    }
}

/// A record that was a payment stays one.
fn expect_payment(record: Record) -> Result<Payment, StoreError> {
    match record {
        Record::Payment(payment) => Ok(payment),
        Record::Tombstone { .. } => Err(StoreError::Corrupt { what: "payment" }),
    }
}
