//! `POST /v1/orders/{id}/cancel`

use amends_auth::Claims;
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use service_base::problem::Problem;

use super::{OrderView, order_id};
use crate::{
    domain::State as OrderState,
    http::{Api, prefer, writer},
    problem::location,
};

/// Cancels a confirmed order: its money goes back and its goods are on sale again.
///
/// Cancelling twice is cancelling once. When the caller's deadline comes first, the answer is 202, and the cancellation goes on. A
/// body is neither needed nor read.
#[utoipa::path(
    post, path = "/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` seconds, `respond-async` (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "Cancelled", body = OrderView),
        (status = 202, description = "Being cancelled", body = OrderView, headers(("Location" = String), ("Preference-Applied" = String))),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "`order_not_cancellable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`store_unavailable`, `overloaded`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["orders:write"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = writer(&claims)?;
    let prefer = prefer::Prefer::of(&headers);
    let cancelled = api.core.cancel_order(&caller, order_id(&id)?, api.wait_limits(prefer.wait())).await?;
    let done = matches!(cancelled.order.state, OrderState::Cancelled { .. });
    let status = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(OrderView::of(&cancelled.order, cancelled.saga))).into_response();
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::try_from(location(cancelled.order.head.id)) {
        headers.insert(header::LOCATION, place);
    }
    if let Some(Ok(applied)) = prefer.applied(api.waits.max, !done).map(HeaderValue::try_from) {
        headers.insert(prefer::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
