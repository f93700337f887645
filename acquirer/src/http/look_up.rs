//! `GET /v1/keys?key=…`: what became of a key, be it a charge's, an authorization's, a capture's or a refund's. Changes nothing.
//! "Not found" means not yet: a request under way may still arrive. A caller that needs "never" voids the key.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use service_base::problem::{Code, Problem};

use super::{Api, fields};
use crate::domain::{Entry, Fate};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    key: String,
}

#[derive(Serialize)]
pub(super) struct Found {
    /// The key of the charge or the authorization that the key belongs to.
    charge: String,
    /// `failing`, `authorized`, `captured`, `declined`, `voided`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    held_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
}

impl From<&Entry> for Found {
    fn from(entry: &Entry) -> Self {
        let (state, decline_code) = match &entry.fate {
            Fate::Failing { .. } => ("failing", None),
            Fate::Held { .. } => ("authorized", None),
            Fate::Captured { .. } => ("captured", None),
            Fate::Declined { reason, .. } => ("declined", Some(reason.code())),
            Fate::Voided => ("voided", None),
        };
        Self {
            charge: entry.key.to_string(),
            state,
            currency: entry.asked().map(|asked| asked.amount.currency().code().to_owned()),
            held_minor: entry.held_minor(),
            captured_minor: entry.taken_minor(),
            refunded_minor: entry.given_back_minor(),
            decline_code,
        }
    }
}

pub(super) async fn look_up(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let Query(asked) = asked.map_err(|rejection| Problem::invalid("key", rejection.body_text()))?;
    let key = fields::key("key", &asked.key)?;
    let mut entry = api.acquirer.look_up(&key).await?;
    if entry.is_none()
        && let Some(charge) = api.ledger.charge_of(&key).await?
    {
        entry = api.acquirer.look_up(&charge).await?;
    }
    match entry {
        Some(entry) => Ok(Json(Found::from(&entry))),
        None => Err(Problem::of(Code::NotFound, "nothing is on record under this key yet")),
    }
}
