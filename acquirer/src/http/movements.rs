//! `GET /v1/movements?after=&limit=`: the statement, in the order in which money moved. `next` is where to go on; the same place can
//! be asked again later for what has moved since.

use amends_primitives::Money;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use service_base::problem::Problem;

use super::Api;
use crate::store::{PAGE_SIZE_MAX, Posted};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    after: i64,
    #[serde(default = "all_that_fit")]
    limit: u32,
}

const fn all_that_fit() -> u32 {
    PAGE_SIZE_MAX
}

#[derive(Serialize)]
pub(super) struct Page {
    movements: Vec<Line>,
    /// The place after the last; where nothing is on the page, the one that was asked for.
    next: i64,
    /// Whether the page is full, so that there may be more.
    more: bool,
}

#[derive(Serialize)]
struct Line {
    seq: i64,
    at: String,
    kind: &'static str,
    key: String,
    charge: String,
    amount: Money,
    receipt: String,
}

impl From<Posted> for Line {
    fn from(Posted { seq, at, movement }: Posted) -> Self {
        Self {
            seq,
            at: at.to_string(),
            kind: movement.kind.name(),
            key: movement.key.to_string(),
            charge: movement.charge.to_string(),
            amount: movement.amount,
            receipt: movement.receipt,
        }
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(asked) = asked.map_err(|rejection| Problem::invalid("query", rejection.body_text()))?;
    if !(1..=PAGE_SIZE_MAX).contains(&asked.limit) {
        return Err(Problem::invalid("limit", "must be 1 to 200"));
    }
    let posted = api.ledger.movements(asked.after, asked.limit).await?;
    let next = posted.last().map_or(asked.after, |last| last.seq);
    let more = posted.len() == asked.limit as usize;
    Ok(Json(Page { movements: posted.into_iter().map(Line::from).collect(), next, more }))
}
