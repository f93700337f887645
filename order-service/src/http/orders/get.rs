//! `GET /v1/orders/{id}`

use amends_auth::Claims;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use service_base::problem::Problem;

use super::{OrderView, order_id};
use crate::http::{Api, reader};

/// One order. Another customer's is not found, like one that does not exist.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", operation_id = "getOrder",
    summary = "One order. Somebody else's is as absent as one that never was.",
    params(("id" = String, Path, description = "The order's id")),
    responses(
        (status = 200, description = "The order", body = OrderView),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`store_unavailable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["orders:read"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    Path(id): Path<String>,
) -> Result<Json<OrderView>, Problem> {
    let caller = reader(&claims)?;
    let (order, saga) = api.core.get_order(&caller, order_id(&id)?, api.read_until()).await?;
    Ok(Json(OrderView::of(&order, saga)))
}
