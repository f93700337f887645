//! `GET /v1/orders/{id}/saga`

use amends_auth::Claims;
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::Uri,
};
use saga_engine::timeline::{Timeline, TimelineEntry};
use serde::Serialize;
use service_base::problem::Problem;
use utoipa::ToSchema;

use super::{FailureView, order_id};
use crate::{
    app::WhichSaga,
    http::{Api, query, reader},
    saga::{cancel_order, place_order},
};

/// What happened to an order's saga, step by step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Saga)]
pub struct TimelineView {
    /// The saga's id.
    id: String,
    /// What kind of saga it is: `place-order` or `cancel-order`.
    #[schema(example = "place-order")]
    definition: String,
    /// The definition's version.
    version: u32,
    /// `running`, `unwinding`, `completed`, `unwound` or `parked`.
    #[schema(example = "completed")]
    status: &'static str,
    /// Why it did not go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    /// In the order in which they began.
    steps: Vec<StepView>,
    /// The trace it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// RFC 3339, UTC.
    started_at: String,
    /// RFC 3339, UTC; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
}

/// One step in one phase.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaStep)]
pub struct StepView {
    /// The step.
    #[schema(example = "charge_payment")]
    name: String,
    /// `action`, `compensation` or `close`.
    #[schema(example = "action")]
    phase: &'static str,
    /// How often it was tried.
    attempts: u32,
    /// `in_flight`, `done`, `refused`, `unknown`, `not_sent` (no attempt of it was, as far as is known), `undone`,
    /// `closed` or `not_yet`.
    #[schema(example = "done")]
    outcome: &'static str,
    /// The code of the last refusal or cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The sentence to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// RFC 3339, UTC.
    started_at: String,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
}

impl From<Timeline> for TimelineView {
    fn from(timeline: Timeline) -> Self {
        let step = |entry: &TimelineEntry| StepView {
            name: entry.step.clone(),
            phase: entry.phase.as_str(),
            attempts: entry.attempts,
            outcome: entry.outcome.as_str(),
            code: entry.code.clone(),
            detail: entry.detail.clone(),
            started_at: entry.started_at.to_string(),
            finished_at: entry.finished_at.map(|at| at.to_string()),
        };
        Self {
            id: timeline.row.id.to_string(),
            definition: timeline.row.definition.name.clone(),
            version: timeline.row.definition.version,
            status: timeline.status().as_str(),
            failure: timeline
                .failure()
                .map(|failure| FailureView { code: failure.code.clone(), message: failure.message.clone() }),
            steps: timeline.entries.iter().map(step).collect(),
            trace_id: timeline.trace().trace_id().map(str::to_owned),
            started_at: timeline.row.created_at.to_string(),
            finished_at: timeline.row.finished_at.map(|at| at.to_string()),
        }
    }
}

/// The timeline of the saga at work on the order, or of the last that was.
#[utoipa::path(
    get, path = "/v1/orders/{id}/saga", tag = "orders", operation_id = "getSaga",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("definition" = Option<String>, Query, description = "`place-order` or `cancel-order`; the latest where absent"),
    ),
    responses(
        (status = 200, description = "The timeline", body = TimelineView),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_request`, `unknown_field`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`store_unavailable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["orders:read"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<TimelineView>, Problem> {
    let caller = reader(&claims)?;
    let [definition] = query::read(&uri, ["definition"])?;
    let which = match definition.as_deref() {
        None => WhichSaga::Latest,
        Some(<place_order::PlaceOrder as saga_engine::Saga>::NAME) => WhichSaga::Place,
        Some(<cancel_order::CancelOrder as saga_engine::Saga>::NAME) => WhichSaga::Cancel,
        Some(_) => return Err(Problem::invalid("definition", "must be place-order or cancel-order")),
    };
    let timeline = api.core.timeline(&caller, order_id(&id)?, which, api.read_until()).await?;
    Ok(Json(timeline.into()))
}
