//! `POST /v1/captures`: takes what is held, once per authorization.

use amends_primitives::Money;
use axum::{Json, extract::State, response::IntoResponse as _, response::Response};
use serde::Deserialize;
use service_base::problem::{Code, Problem};
use service_kit::http::JsonBody;

use super::{
    Api,
    fields::{self, Effect, IdempotencyKey},
};
use crate::domain::{CaptureAsk, Captured};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    authorization: String,
    amount: Money,
}

pub(super) async fn capture(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<Body>,
) -> Result<Response, Problem> {
    let authorization = fields::key("authorization", &body.authorization)?;
    let ask = CaptureAsk { key, authorization, amount: fields::positive(body.amount)? };
    match api.given(api.acquirer.capture(&ask).await?).await? {
        Captured::Done { amount, receipt } => {
            Ok(Json(Effect::moved(&ask.key, "captured", amount, receipt)).into_response())
        }
        Captured::Refused => {
            let detail = "nothing is held under this authorization that could be captured so";
            Err(Problem::of(Code::CaptureRefused, detail))
        }
        Captured::KeyVoided => Err(fields::voided()),
        Captured::KeyReused => Err(fields::reused()),
    }
}
