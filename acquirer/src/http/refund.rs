//! `POST /v1/refunds`: gives money back, once per key.

use amends_primitives::Money;
use axum::{Json, extract::State, response::IntoResponse as _, response::Response};
use serde::Deserialize;
use service_base::problem::{Code, Problem};
use service_kit::http::JsonBody;

use super::{
    Api,
    fields::{self, Effect, IdempotencyKey},
};
use crate::domain::{RefundAsk, Refunded};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    charge: String,
    amount: Money,
}

pub(super) async fn refund(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<Body>,
) -> Result<Response, Problem> {
    let ask = RefundAsk { key, charge: fields::key("charge", &body.charge)?, amount: fields::positive(body.amount)? };
    match api.acquirer.refund(&ask).await? {
        Refunded::Done { receipt } => {
            Ok(Json(Effect::moved(&ask.key, "refunded", ask.amount, receipt)).into_response())
        }
        Refunded::Refused => {
            let detail = "not so much is left of what was taken under this charge";
            Err(Problem::of(Code::RefundRefused, detail))
        }
        Refunded::KeyReused => Err(fields::reused()),
    }
}
