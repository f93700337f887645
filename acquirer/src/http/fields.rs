//! What requests and answers have in common: the key in its header, checked fields, refusals.
//!
//! Must not know: which verb it is.

use amends_primitives::Money;
use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};
use serde::Serialize;
use service_base::problem::{Code, Problem};

use crate::domain::{Decline, Key, Method};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The `Idempotency-Key` of a request: exactly one.
pub(super) struct IdempotencyKey(pub(super) Key);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(HEADER).iter();
        let Some(first) = given.next() else {
            let detail = "this request moves money: it needs an Idempotency-Key";
            return Err(Problem::of(Code::MissingIdempotencyKey, detail));
        };
        let key = first.to_str().ok().and_then(|text| Key::try_new(text).ok());
        let (Some(key), None) = (key, given.next()) else {
            let detail = "the Idempotency-Key must be one, of 1 to 255 visible ASCII characters";
            return Err(Problem::of(Code::InvalidIdempotencyKey, detail));
        };
        Ok(Self(key))
    }
}

/// What happened under a key.
#[derive(Serialize)]
pub(super) struct Effect<'a> {
    /// The key, so that an answer can be told from another request's.
    pub(super) key: &'a str,
    /// `captured`, `authorized`, `voided`, `declined`, `refunded`.
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receipt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decline_code: Option<&'static str>,
}

impl<'a> Effect<'a> {
    pub(super) fn plain(key: &'a Key, state: &'static str) -> Self {
        Self { key: key.as_str(), state, amount: None, receipt: None, decline_code: None }
    }

    pub(super) fn moved(key: &'a Key, state: &'static str, amount: Money, receipt: String) -> Self {
        Self { key: key.as_str(), state, amount: Some(amount), receipt: Some(receipt), decline_code: None }
    }
}

pub(super) fn key(field: &'static str, text: &str) -> Result<Key, Problem> {
    Key::try_new(text).map_err(|error| Problem::invalid(field, error.to_string()))
}

pub(super) fn method(text: &str) -> Result<Method, Problem> {
    Method::try_new(text).map_err(|error| Problem::invalid("method", error.to_string()))
}

pub(super) fn positive(amount: Money) -> Result<Money, Problem> {
    if amount.is_positive() { Ok(amount) } else { Err(Problem::invalid("amount.amount_minor", "must be above zero")) }
}

pub(super) fn declined(decline: Decline) -> Problem {
    let detail = match decline {
        Decline::Declined => "the payment method was declined",
        Decline::InsufficientFunds => "the account does not hold enough",
        Decline::AmountLimitExceeded => "the amount is at or above the limit",
    };
    Problem::of(Code::PaymentDeclined, detail).extension("decline_code", decline.code())
}

pub(super) fn voided() -> Problem {
    Problem::from(Code::KeyVoided)
}

pub(super) fn reused() -> Problem {
    Problem::from(Code::IdempotencyKeyReused)
}
