//! Questions to the processor: bounded in time, counted, and turned into events.
//!
//! Must not know: what is done with the answer.

use std::future::Future;

use super::{Failure, Payments};
use crate::{
    domain::{Event, Mode, Payment, Refund, Settlement, Wanted},
    processor::{
        AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, RefundAsk, RefundOutcome, Unknown,
        VoidOutcome,
    },
};

impl Payments {
    /// Takes or holds the money, under the key of the charge or the authorization. What the processor says has happened, as an
    /// event.
    pub(super) async fn ask_charge(&self, payment: &Payment) -> Result<Event, Failure> {
        let charge = &payment.charge;
        let ask = ChargeAsk { key: charge.key.clone(), amount: charge.amount, method: charge.method.clone() };
        match charge.mode {
            Mode::Charge => {
                let outcome = self.in_time(self.processor.charge(&ask)).await;
                let outcome = outcome.unwrap_or(ChargeOutcome::Unknown(Unknown::TimedOut));
                self.attempts.charge(&outcome);
                match outcome {
                    ChargeOutcome::Captured { amount, receipt } => Ok(Event::Captured { amount, receipt }),
                    ChargeOutcome::Declined(reason) => Ok(Event::Declined { reason }),
                    ChargeOutcome::KeyVoided => Ok(Event::Voided),
                    ChargeOutcome::Unknown(why) => Err(Failure::Processor(why)),
                }
            }
            Mode::Authorize => {
                let outcome = self.in_time(self.processor.authorize(&ask)).await;
                let outcome = outcome.unwrap_or(AuthorizeOutcome::Unknown(Unknown::TimedOut));
                self.attempts.authorization(&outcome);
                match outcome {
                    AuthorizeOutcome::Authorized { amount, receipt } => Ok(Event::Authorized { amount, receipt }),
                    AuthorizeOutcome::Declined(reason) => Ok(Event::Declined { reason }),
                    AuthorizeOutcome::KeyVoided => Ok(Event::Voided),
                    AuthorizeOutcome::Unknown(why) => Err(Failure::Processor(why)),
                }
            }
        }
    }

    /// Captures or voids what is held, as `settlement` wants.
    pub(super) async fn ask_settlement(&self, payment: &Payment, settlement: &Settlement) -> Result<Event, Failure> {
        let Wanted::Capture { amount, .. } = settlement.wanted else { return self.ask_void(payment).await };
        let ask = CaptureAsk { key: settlement.key.clone(), authorization: payment.charge.key.clone(), amount };
        let outcome = self.in_time(self.processor.capture(&ask)).await;
        let outcome = outcome.unwrap_or(CaptureOutcome::Unknown(Unknown::TimedOut));
        self.attempts.capture(&outcome);
        match outcome {
            CaptureOutcome::Captured { amount, receipt } => Ok(Event::Captured { amount, receipt }),
            CaptureOutcome::Refused => Ok(Event::CaptureRefused { key: ask.key }),
            CaptureOutcome::KeyVoided => Ok(Event::Voided),
            CaptureOutcome::Unknown(why) => Err(Failure::Processor(why)),
        }
    }

    /// Voids the key of the charge or the authorization, or learns what became of it.
    pub(super) async fn ask_void(&self, payment: &Payment) -> Result<Event, Failure> {
        let outcome = self.in_time(self.processor.void(&payment.charge.key)).await;
        let outcome = outcome.unwrap_or(VoidOutcome::Unknown(Unknown::TimedOut));
        self.attempts.void(&outcome);
        match outcome {
            VoidOutcome::Voided => Ok(Event::Voided),
            VoidOutcome::WasCaptured { amount, receipt } => Ok(Event::Captured { amount, receipt }),
            VoidOutcome::WasDeclined(reason) => Ok(Event::Declined { reason }),
            VoidOutcome::Unknown(why) => Err(Failure::Processor(why)),
        }
    }

    /// Gives money back, under the refund's key.
    pub(super) async fn ask_refund(&self, payment: &Payment, refund: &Refund) -> Result<Event, Failure> {
        let (key, charge) = (refund.key.clone(), payment.charge.key.clone());
        let ask = RefundAsk { key: key.clone(), charge, amount: refund.amount };
        let outcome = self.in_time(self.processor.refund(&ask)).await;
        let outcome = outcome.unwrap_or(RefundOutcome::Unknown(Unknown::TimedOut));
        self.attempts.refund(&outcome);
        match outcome {
            RefundOutcome::Refunded { receipt } => Ok(Event::RefundDone { key, receipt }),
            RefundOutcome::Refused => Ok(Event::RefundRefused { key }),
            RefundOutcome::Unknown(why) => Err(Failure::Processor(why)),
        }
    }

    async fn in_time<T>(&self, question: impl Future<Output = T> + Send) -> Option<T> {
        tokio::time::timeout(self.processor_timeout, question).await.ok()
    }
}
