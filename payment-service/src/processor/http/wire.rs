//! The acquirer's JSON, as far as we read it. Its own definition is in `acquirer/README.md`; fields that are added there do not
//! concern us.
//!
//! Must not know: how it travels, what is asked again.

use amends_primitives::Money;
use serde::{Deserialize, Serialize};

use crate::domain::{DeclineReason, Receipt};

/// A receipt goes into the payment's record, and that must stay small.
const RECEIPT_LEN_MAX: usize = 512;

#[derive(Serialize)]
pub(super) struct ChargeBody<'a> {
    pub(super) amount: Money,
    pub(super) method: &'a str,
}

#[derive(Serialize)]
pub(super) struct CaptureBody<'a> {
    pub(super) authorization: &'a str,
    pub(super) amount: Money,
}

#[derive(Serialize)]
pub(super) struct VoidBody<'a> {
    pub(super) charge: &'a str,
}

#[derive(Serialize)]
pub(super) struct RefundBody<'a> {
    pub(super) charge: &'a str,
    pub(super) amount: Money,
}

/// An answer that says what became of the question.
pub(super) enum Answer {
    /// 200.
    Effect(Effect),
    /// 402, 409 or 422: a problem with a code.
    Refusal {
        code: String,
        /// Where it is a decline.
        decline: DeclineReason,
    },
}

#[derive(Deserialize)]
pub(super) struct Effect {
    pub(super) key: String,
    pub(super) state: String,
    pub(super) amount: Option<Money>,
    pub(super) receipt: Option<String>,
    pub(super) decline_code: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    decline_code: Option<String>,
}

impl Answer {
    /// Reads the body that came with that status; nothing where it is not what the acquirer writes.
    pub(super) fn read(status: u16, body: &[u8]) -> Option<Self> {
        if status == 200 {
            let effect: Effect = serde_json::from_slice(body).ok()?;
            let fits = effect.receipt.as_ref().is_none_or(|receipt| receipt.len() <= RECEIPT_LEN_MAX);
            return fits.then_some(Self::Effect(effect));
        }
        let Refusal { code, decline_code } = serde_json::from_slice(body).ok()?;
        let decline = decline_code.as_deref().map_or(DeclineReason::Declined, decline);
        // A code stands for its status: a proxy's page that happens to have one is not the acquirer's word.
        let expected = match code.as_str() {
            "payment_declined" => 402,
            "key_voided" | "capture_refused" | "refund_refused" => 409,
            "idempotency_key_reused" => 422,
            _ => return None,
        };
        (status == expected).then_some(Self::Refusal { code, decline })
    }
}

impl Effect {
    /// The receipt, where this is the answer to our question: our key, the state it leads to, all of the amount.
    pub(super) fn receipt_of(&self, key: &str, state: &str, amount: Money) -> Option<Receipt> {
        let ours = self.key == key && self.state == state && self.amount == Some(amount);
        if ours { Some(Receipt::new(self.receipt.as_deref()?)) } else { None }
    }
}

/// A reason that we do not know is a decline all the same.
pub(super) fn decline(code: &str) -> DeclineReason {
    DeclineReason::from_name(code).unwrap_or(DeclineReason::Declined)
}
