//! `POST /v1/charges` and `POST /v1/authorizations`: takes or holds money, once per key.

use amends_primitives::Money;
use axum::{Json, extract::State, response::IntoResponse as _, response::Response};
use serde::Deserialize;
use service_base::problem::{Code, Problem};
use service_kit::http::JsonBody;

use super::{
    Api,
    fields::{self, Effect, IdempotencyKey},
};
use crate::domain::{ChargeAsk, Charged};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    amount: Money,
    method: String,
}

pub(super) async fn charge(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<Body>,
) -> Result<Response, Problem> {
    ask(&api, ChargeAsk { key, hold: false, amount: body.amount, method: fields::method(&body.method)? }).await
}

pub(super) async fn authorize(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody<Body>,
) -> Result<Response, Problem> {
    ask(&api, ChargeAsk { key, hold: true, amount: body.amount, method: fields::method(&body.method)? }).await
}

async fn ask(api: &Api, ask: ChargeAsk) -> Result<Response, Problem> {
    fields::positive(ask.amount)?;
    let state = if ask.hold { "authorized" } else { "captured" };
    match api.given(api.acquirer.charge(&ask).await?).await? {
        Charged::Granted { amount, receipt } => {
            Ok(Json(Effect::moved(&ask.key, state, amount, receipt)).into_response())
        }
        Charged::Declined(decline) => Err(fields::declined(decline)),
        Charged::KeyVoided => Err(fields::voided()),
        Charged::KeyReused => Err(fields::reused()),
        Charged::Failed => {
            let detail = "the issuer could not be reached; nothing was taken";
            Err(Problem::of(Code::DependencyUnavailable, detail))
        }
    }
}
