//! `GET /v1/items/{sku}`

use amends_auth::Claims;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use service_base::problem::Problem;

use super::ItemView;
use crate::{
    app::ItemsError,
    domain::Sku,
    http::{Api, scope},
};

/// One article: its price and what is left of it.
#[utoipa::path(
    get, path = "/v1/items/{sku}", tag = "items", operation_id = "getItem",
    params(("sku" = String, Path, description = "The article")),
    responses(
        (status = 200, description = "The article", body = ItemView),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`dependency_unavailable`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
    ),
    security(("bearer" = ["items:read"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    Path(sku): Path<String>,
) -> Result<Json<ItemView>, Problem> {
    claims.require(scope::ITEMS)?;
    let sku = Sku::try_new(sku).map_err(|_| ItemsError::NotFound)?;
    Ok(Json(api.core.get_item(&sku, api.read_until()).await?.into()))
}
