//! Charge and Authorize: take or hold the money, once per step key.
//!
//! | crash after            | on record          | a repeat                                                        |
//! |------------------------|--------------------|-----------------------------------------------------------------|
//! | nothing                | nothing            | starts anew                                                     |
//! | the intent is recorded | pending            | asks the processor                                              |
//! | the processor answered | pending            | asks again with the same key, and is told what was done then    |
//! | the outcome is kept    | captured, authorized, declined | gets that answer                                    |

use super::{Error, Payments, ROUNDS_MAX};
use crate::{
    domain::{Charge, ChargeNext, Payment, Record, decide_charge},
    store::{Claimed, StoreError},
};

impl Payments {
    /// Takes the money, or holds it, by the mode of what is asked.
    ///
    /// # Errors
    /// [`Error::Rejected`] when surely nothing was taken or held; [`Error::Failed`] when it is in doubt.
    pub async fn charge(&self, asked: &Charge) -> Result<Payment, Error> {
        let intent = Record::Payment(Payment::intended(self.new_id(), asked.clone(), self.clock.now()));
        let mut record = match self.store.claim(&intent).await? {
            Claimed::First => intent,
            Claimed::Taken(record) => *record,
        };
        for _ in 0..ROUNDS_MAX {
            match decide_charge(&record, asked)? {
                ChargeNext::Answer(payment) => return Ok(payment),
                ChargeNext::AskProcessor(payment) => {
                    let event = self.ask_charge(&payment).await?;
                    record = self.record(&payment, &event).await?;
                }
            }
        }
        Err(StoreError::Contended.into())
    }
}
