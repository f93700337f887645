//! `GET /v1/orders`

use amends_auth::Claims;
use axum::{Extension, Json, extract::State, http::Uri};
use serde::Serialize;
use service_base::problem::Problem;
use utoipa::ToSchema;

use super::OrderView;
use crate::{
    app::{PAGE_DEFAULT, PAGE_MAX},
    domain::Status,
    http::{Api, cursor, query, reader},
};

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderPage {
    /// Newest first.
    orders: Vec<OrderView>,
    /// For `cursor`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The caller's orders, newest first; with the scope `orders:admin`, everybody's.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "listOrders",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 100, default 20"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("status" = Option<String>, Query, description = "only this status"),
    ),
    responses(
        (status = 200, description = "A page", body = OrderPage),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_request`, `unknown_field`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`store_unavailable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["orders:read"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Result<Json<OrderPage>, Problem> {
    let caller = reader(&claims)?;
    let [limit, cursor, status] = query::read(&uri, ["limit", "cursor", "status"])?;
    let limit = query::limit(limit.as_deref(), PAGE_DEFAULT, PAGE_MAX)?;
    let before = match cursor.as_deref() {
        None => None,
        Some(text) => Some(cursor::decode(text).ok_or_else(|| Problem::invalid("cursor", "is not a cursor of ours"))?),
    };
    let status = match status.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<Status>().map_err(|()| {
            let known: Vec<&str> = Status::ALL.into_iter().map(Status::as_str).collect();
            Problem::invalid("status", format!("must be one of {}", known.join(", ")))
        })?),
    };
    let page = api.core.list_orders(&caller, status, before, limit, api.read_until()).await?;
    Ok(Json(OrderPage {
        orders: page.orders.iter().map(|(order, saga)| OrderView::of(order, *saga)).collect(),
        next_cursor: page.next.map(cursor::encode),
    }))
}

#[cfg(test)]
mod tests;
