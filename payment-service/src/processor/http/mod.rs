//! An acquirer that is reached over HTTP. Whatever is not surely an answer to our question is *unknown*, and is asked again under
//! its key while there is time; nothing is ever concluded from silence, from a broken connection or from an answer that cannot be
//! read.
//!
//! | what comes back                                              | what it means                                           |
//! |--------------------------------------------------------------|---------------------------------------------------------|
//! | 200 with our key, our amount, and a state the verb can have  | done                                                    |
//! | 402 `payment_declined`                                       | declined, with its `decline_code`                       |
//! | 409 `key_voided`, `capture_refused`, `refund_refused`        | surely without effect                                   |
//! | 422 `idempotency_key_reused`                                 | this request has no effect; the key's first one may     |
//! | 429, 503 with `Retry-After`                                  | unknown; asked again then, or the caller is told when   |
//! | timeouts, resets, other 5xx, answers cut short or not ours   | unknown; asked again                                    |
//! | any other status: redirects, 401, 404 …                      | unknown, and an error in the log: asking again is no use|
//!
//! Must not know: payments, their states, how the acquirer works inside.

mod client;
pub mod statement;
mod wire;

#[cfg(test)]
mod tests;

use async_trait::async_trait;

use self::{
    client::Client,
    wire::{Answer, CaptureBody, ChargeBody, Effect, RefundBody, VoidBody},
};
use super::{
    AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk, RefundOutcome,
    Unknown, VoidOutcome,
};
use crate::{
    config::HttpProcessorConfig,
    domain::{DeclineReason, Receipt, StepKey},
};

pub use client::InvalidClient;

/// The acquirer on the other side of a network. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpProcessor {
    client: Client,
}

impl HttpProcessor {
    /// Connects at the first question. Each question is answered within `timeout`, and within its caller's deadline.
    ///
    /// # Errors
    /// When the URL is not one, or the secret has characters that no header may have.
    pub fn new(config: &HttpProcessorConfig, timeout: std::time::Duration) -> Result<Self, InvalidClient> {
        Ok(Self { client: Client::new(config, timeout)? })
    }

    async fn charge_at(&self, path: &'static str, state: &str, ask: &ChargeAsk) -> Result<Charged, Unknown> {
        let (key, body) = (ask.key.to_string(), ChargeBody { amount: ask.amount, method: ask.method.as_str() });
        let read = |answer: &Answer| match answer {
            Answer::Effect(effect) => {
                effect.receipt_of(&key, state, ask.amount).map(|receipt| Charged::Granted { receipt })
            }
            Answer::Refusal { code, decline } => match code.as_str() {
                "payment_declined" => Some(Charged::Declined(*decline)),
                "key_voided" => Some(Charged::KeyVoided),
                // One key, two requests: no answer would be true for this one.
                "idempotency_key_reused" => Some(Charged::KeyReused),
                _ => None,
            },
        };
        self.client.ask(path, Some(&key), &body, read).await
    }
}

/// How a charge or an authorization was answered.
enum Charged {
    Granted { receipt: Receipt },
    Declined(DeclineReason),
    KeyVoided,
    KeyReused,
}

#[async_trait]
impl PaymentProcessor for HttpProcessor {
    async fn charge(&self, ask: &ChargeAsk) -> ChargeOutcome {
        match self.charge_at("/v1/charges", "captured", ask).await {
            Ok(Charged::Granted { receipt }) => ChargeOutcome::Captured { amount: ask.amount, receipt },
            Ok(Charged::Declined(reason)) => ChargeOutcome::Declined(reason),
            Ok(Charged::KeyVoided) => ChargeOutcome::KeyVoided,
            Ok(Charged::KeyReused) => ChargeOutcome::Unknown(Unknown::Failed),
            Err(why) => ChargeOutcome::Unknown(why),
        }
    }

    async fn authorize(&self, ask: &ChargeAsk) -> AuthorizeOutcome {
        match self.charge_at("/v1/authorizations", "authorized", ask).await {
            Ok(Charged::Granted { receipt }) => AuthorizeOutcome::Authorized { amount: ask.amount, receipt },
            Ok(Charged::Declined(reason)) => AuthorizeOutcome::Declined(reason),
            Ok(Charged::KeyVoided) => AuthorizeOutcome::KeyVoided,
            Ok(Charged::KeyReused) => AuthorizeOutcome::Unknown(Unknown::Failed),
            Err(why) => AuthorizeOutcome::Unknown(why),
        }
    }

    async fn capture(&self, ask: &CaptureAsk) -> CaptureOutcome {
        let (key, authorization) = (ask.key.to_string(), ask.authorization.to_string());
        let body = CaptureBody { authorization: &authorization, amount: ask.amount };
        let read = |answer: &Answer| match answer {
            Answer::Effect(effect) => {
                let receipt = effect.receipt_of(&key, "captured", ask.amount)?;
                Some(CaptureOutcome::Captured { amount: ask.amount, receipt })
            }
            Answer::Refusal { code, .. } => match code.as_str() {
                "capture_refused" | "idempotency_key_reused" => Some(CaptureOutcome::Refused),
                "key_voided" => Some(CaptureOutcome::KeyVoided),
                _ => None,
            },
        };
        self.client.ask("/v1/captures", Some(&key), &body, read).await.unwrap_or_else(CaptureOutcome::Unknown)
    }

    async fn void(&self, charge: &StepKey) -> VoidOutcome {
        let key = charge.to_string();
        let read = |answer: &Answer| match answer {
            Answer::Effect(effect) => read_void(effect, &key),
            Answer::Refusal { .. } => None,
        };
        self.client.ask("/v1/voids", None, &VoidBody { charge: &key }, read).await.unwrap_or_else(VoidOutcome::Unknown)
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundOutcome {
        let (key, charge) = (ask.key.to_string(), ask.charge.to_string());
        let body = RefundBody { charge: &charge, amount: ask.amount };
        let read = |answer: &Answer| match answer {
            Answer::Effect(effect) => {
                let receipt = effect.receipt_of(&key, "refunded", ask.amount)?;
                Some(RefundOutcome::Refunded { receipt })
            }
            Answer::Refusal { code, .. } => {
                let refused = ["refund_refused", "idempotency_key_reused"].contains(&code.as_str());
                refused.then_some(RefundOutcome::Refused)
            }
        };
        self.client.ask("/v1/refunds", Some(&key), &body, read).await.unwrap_or_else(RefundOutcome::Unknown)
    }
}

fn read_void(effect: &Effect, key: &str) -> Option<VoidOutcome> {
    if effect.key != key {
        return None;
    }
    match effect.state.as_str() {
        "voided" => Some(VoidOutcome::Voided),
        "declined" => effect.decline_code.as_deref().map(|code| VoidOutcome::WasDeclined(wire::decline(code))),
        "captured" => {
            let amount = effect.amount.filter(amends_primitives::Money::is_positive)?;
            let receipt = Receipt::new(effect.receipt.as_deref()?);
            Some(VoidOutcome::WasCaptured { amount, receipt })
        }
        _ => None,
    }
}
