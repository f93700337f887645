//! What calls that name a payment (capture, void, refund) have in common: read it, decide, then one effect, and decide again.
//!
//! | crash after            | on record | a repeat                                                        |
//! |------------------------|-----------|-----------------------------------------------------------------|
//! | nothing                | nothing   | starts anew                                                     |
//! | the intent is recorded | pending   | asks the processor                                              |
//! | the processor answered | pending   | asks again with the same key, and is told what was done then    |
//! | the outcome is kept    | done      | gets that answer                                                |

use amends_primitives::PaymentId;

use super::{Error, Failure, Payments, ROUNDS_MAX};
use crate::{
    domain::{Next, Payment, Record, Rejection, StepKey},
    store::StoreError,
};

impl Payments {
    /// Moves the payment until `decide` has an answer. `key` is the caller's.
    pub(super) async fn settle(
        &self,
        id: PaymentId,
        key: &StepKey,
        decide: impl Fn(&Payment) -> Result<Next, Rejection> + Send + Sync,
    ) -> Result<Payment, Error> {
        let mut payment = self.store.find(id).await?.ok_or(Rejection::PaymentNotFound(id))?;
        let mut newest = false;
        for _ in 0..ROUNDS_MAX {
            let next = match decide(&payment) {
                // A lookup by id may be stale: reload before refusing.
                Err(_) if !newest => {
                    newest = true;
                    payment = expect_payment(self.reload(&payment.charge.key).await?)?;
                    continue;
                }
                next => next?,
            };
            let event = match next {
                Next::Answer(payment) => return Ok(payment),
                Next::Record(event) => event,
                Next::AskSettlement(settlement) => self.ask_settlement(&payment, &settlement).await?,
                Next::AskRefund(refund) => self.ask_refund(&payment, &refund).await?,
            };
            newest = true;
            payment = match self.record(&payment, &event).await {
                Ok(record) => expect_payment(record)?,
                Err(Failure::Store(StoreError::StepKeyTaken)) => {
                    return Err(Rejection::StepKeyReused(key.clone()).into());
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
