//! CompensateCharge: whatever became of the charge or the authorization, afterwards its net is zero for good and nothing is held.
//! It cannot be refused.
//!
//! | on record under the key  | what is done                                                                            |
//! |--------------------------|-----------------------------------------------------------------------------------------|
//! | nothing                  | a tombstone: a charge that comes later is refused                                       |
//! | pending, authorized      | the barrier is closed, then the processor voids the key or says that it was captured    |
//! | captured                 | the barrier is closed, the refund is recorded, then the processor is asked              |
//! | declined, voided         | the barrier is closed                                                                   |
//! | refunds still in doubt   | they are asked about first: they decide how much is left                                |

use amends_primitives::PaymentId;

use super::{Error, Failure, Payments, ROUNDS_MAX};
use crate::{
    domain::{Compensated, CompensationNext, Event, Payment, Record, RefundKey, StepKey, decide_compensation},
    store::{Claimed, StoreError},
};

/// What a compensation found and left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// What it found.
    pub found: Compensated,
    /// The payment, where there was one.
    pub payment: Option<Payment>,
}

impl Payments {
    /// Undoes the charge of that key.
    ///
    /// # Errors
    /// [`Error::Failed`] when it is not certain yet that nothing remains taken: call again.
    pub async fn compensate_charge(&self, key: &StepKey) -> Result<Undone, Error> {
        let tombstone = Record::Tombstone { key: key.clone(), at: self.clock.now(), id: self.new_id() };
        let mut record = match self.store.claim(&tombstone).await? {
            Claimed::First => tombstone,
            Claimed::Taken(record) => *record,
        };
        let mut undone_now = false;
        for _ in 0..ROUNDS_MAX {
            let (payment, event) = match decide_compensation(&record, undone_now) {
                CompensationNext::Answer(found, payment) => return Ok(Undone { found, payment }),
                CompensationNext::Record(event) => match &record {
                    Record::Payment(payment) => (payment.clone(), event),
                    Record::Tombstone { .. } => return Ok(Undone { found: Compensated::NothingToUndo, payment: None }),
                },
                CompensationNext::Void(payment) => {
                    let event = self.ask_void(&payment).await?;
                    // What was held is released, where it had not been captured before.
                    undone_now = event == Event::Voided && payment.state.hold().is_some();
                    (payment, event)
                }
                CompensationNext::AskRefund(payment, refund) => {
                    let event = self.ask_refund(&payment, &refund).await?;
                    match (&event, &refund.key) {
                        // A caller's own refund may be refused; then more is left for ours. Ours may not.
                        (Event::RefundRefused { .. }, RefundKey::Undo(_)) => {
                            return Err(undo_refused(payment.id).into());
                        }
                        (Event::RefundDone { .. }, _) => undone_now = true,
                        _ => {}
                    }
                    (payment, event)
                }
            };
            record = self.record(&payment, &event).await?;
        }
        Err(StoreError::Contended.into())
    }
}

fn undo_refused(payment: PaymentId) -> Failure {
    tracing::error!(payment.id = %payment, "the processor refuses the refund that compensates a charge");
    Failure::UndoRefused
}
