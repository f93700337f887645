//! `POST /v1/voids`: makes sure that nothing is ever taken under the key of a charge or an authorization, or says that it was. Its
//! repeat is harmless by itself, so it has no key of its own.

use axum::{Json, extract::State, response::IntoResponse as _, response::Response};
use serde::Deserialize;
use service_base::problem::Problem;
use service_kit::http::JsonBody;

use super::{
    Api,
    fields::{self, Effect},
};
use crate::domain::Voided;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    charge: String,
}

pub(super) async fn void(State(api): State<Api>, JsonBody(body): JsonBody<Body>) -> Result<Response, Problem> {
    let key = fields::key("charge", &body.charge)?;
    let effect = match api.acquirer.void(&key).await? {
        Voided::Done => Effect::plain(&key, "voided"),
        Voided::WasCaptured { amount, receipt } => Effect::moved(&key, "captured", amount, receipt),
        Voided::WasDeclined(decline) => {
            Effect { decline_code: Some(decline.code()), ..Effect::plain(&key, "declined") }
        }
    };
    Ok(Json(effect).into_response())
}
