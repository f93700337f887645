//! `GET /v1/items`

use amends_auth::Claims;
use axum::{Extension, Json, extract::State, http::Uri};
use serde::Serialize;
use service_base::problem::Problem;
use utoipa::ToSchema;

use super::ItemView;
use crate::http::{Api, query, scope};

/// As many as the inventory serves at once.
const PAGE_MAX: u16 = 100;
const PAGE_DEFAULT: u16 = 50;

/// A page of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemPage {
    /// In SKU order.
    items: Vec<ItemView>,
    /// For `cursor`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The catalogue, in SKU order.
#[utoipa::path(
    get, path = "/v1/items", tag = "items", operation_id = "listItems",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 100, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = ItemPage),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_request`, `unknown_field`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`dependency_unavailable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["items:read"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Result<Json<ItemPage>, Problem> {
    claims.require(scope::ITEMS)?;
    let [limit, cursor] = query::read(&uri, ["limit", "cursor"])?;
    let limit = query::limit(limit.as_deref(), PAGE_DEFAULT, PAGE_MAX)?;
    let page = api.core.list_items(limit, cursor.as_deref(), api.read_until()).await?;
    Ok(Json(ItemPage { items: page.items.into_iter().map(ItemView::from).collect(), next_cursor: page.next }))
}
