//! `POST /v1/orders`

use amends_auth::Claims;
use axum::{
    Extension, Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use service_base::problem::Problem;
use service_kit::http::JsonBody;
use utoipa::ToSchema;

use super::OrderView;
use crate::{
    app::{Draft, DraftLine, DraftPrice, PlaceOrder, Placed, idempotency_key},
    domain::State as OrderState,
    http::{Api, object::Object, prefer, writer},
    problem::{location, refused_order},
};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An order to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// 1 to 100, each SKU once.
    #[schema(min_items = 1, max_items = 100, value_type = Vec<NewOrderLine>)]
    items: Vec<Object<NewOrderLine>>,
    /// The processor's token for a way to pay; never card data.
    #[schema(example = "pm_ok", pattern = "^[A-Za-z0-9_-]{1,64}$")]
    payment_method: String,
}

/// One line of an order to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrderLine {
    /// The article.
    #[schema(example = "espresso-1kg", pattern = "^[A-Za-z0-9_.:/-]{1,64}$")]
    sku: String,
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000, example = 2)]
    quantity: i64,
    /// The price the customer saw. Given, the catalogue must agree, or the order is refused with `price_mismatch`.
    #[serde(default)]
    #[schema(value_type = Option<NewPrice>)]
    unit_price: Option<Object<NewPrice>>,
}

/// A price as the customer saw it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrice {
    /// Minor units: cents for EUR.
    #[schema(minimum = 0, example = 1850)]
    amount_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    currency: String,
}

impl From<NewOrder> for Draft {
    fn from(body: NewOrder) -> Self {
        let line = |Object(line): Object<NewOrderLine>| DraftLine {
            sku: line.sku,
            quantity: line.quantity,
            unit_price: line
                .unit_price
                .map(|Object(price)| DraftPrice { amount_minor: price.amount_minor, currency: price.currency }),
        };
        Self { items: body.items.into_iter().map(line).collect(), payment_method: body.payment_method }
    }
}

/// Places an order and answers when it is settled.
///
/// The customer is the token's subject. An equal request with the same `Idempotency-Key` is answered the same, with
/// `Idempotency-Replayed: true`; while the first is in flight it waits for it. When the caller's deadline comes first (`Prefer:
/// wait=N`, default 5 s; `Prefer: respond-async`), the answer is 202 with `Location`, and the order goes on. A refused order exists
/// and is named by `Location`.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", operation_id = "placeOrder",
    params(
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, made by the caller and kept for retries"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` seconds, `respond-async` (RFC 7240)"),
    ),
    request_body(content = NewOrder, content_type = "application/json"),
    responses(
        (status = 201, description = "Confirmed", body = OrderView, headers(
            ("Location" = String), ("Idempotency-Replayed" = String), ("Preference-Applied" = String))),
        (status = 202, description = "Accepted, still running", body = OrderView, headers(
            ("Location" = String), ("Idempotency-Replayed" = String), ("Preference-Applied" = String))),
        (status = 400, description = "`missing_idempotency_key`, `invalid_json`, `bad_request`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`, `invalid_token`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 402, description = "`payment_declined`; the order exists, failed", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 403, description = "`insufficient_scope`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "`insufficient_stock`, `price_mismatch`, `reservation_expired`; the order exists, failed", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 413, description = "`payload_too_large`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_request`, `unknown_field`, `unknown_sku`, `mixed_currencies`, `total_overflow`, `invalid_idempotency_key`, `idempotency_key_reused`", body = crate::http::problem::ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "`dependency_unavailable`, `store_unavailable`, `overloaded`; the same request may be sent again under the same key", body = crate::http::problem::ProblemView, content_type = "application/problem+json",
            headers(("Retry-After" = u64))),
    ),
    security(("bearer" = ["orders:write"])),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = writer(&claims)?;
    let prefer = prefer::Prefer::of(request.headers());
    let key = idempotency_key(key_of(request.headers())?)?;
    let wait_limits = api.wait_limits(prefer.wait());
    let JsonBody(body) = <JsonBody<NewOrder> as axum::extract::FromRequest<_>>::from_request(request, &()).await?;
    let ask = PlaceOrder::check(body.into(), key)?;
    let placed = api.core.place_order(&caller, ask, wait_limits).await?;
    let mut response = answer(&placed);
    let accepted_only = response.status() == StatusCode::ACCEPTED;
    if let Some(Ok(applied)) = prefer.applied(api.waits.max, accepted_only).map(HeaderValue::try_from) {
        response.headers_mut().insert(prefer::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// The key a request carries; two of them are as good as a malformed one.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = keys.next() else { return Ok(None) };
    match (first.to_str(), keys.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(crate::app::KeyProblem::Malformed.into()),
    }
}

fn answer(placed: &Placed) -> Response {
    let order = &placed.order;
    let mut response = match &order.state {
        OrderState::Failed { failure, .. } => refused(order, failure),
        OrderState::New | OrderState::Pending => {
            (StatusCode::ACCEPTED, Json(OrderView::of(order, placed.saga))).into_response()
        }
        _ => (StatusCode::CREATED, Json(OrderView::of(order, placed.saga))).into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::try_from(location(order.head.id)) {
        headers.insert(header::LOCATION, place);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if placed.replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// A refused order's problem, with the order's own trace in it: a repeat is answered as the first request was.
fn refused(order: &crate::domain::Order, failure: &crate::domain::Failure) -> Response {
    let problem = refused_order(order, failure);
    let mut json = problem.to_json();
    if !order.head.trace_id.is_empty() {
        json["trace_id"] = order.head.trace_id.as_str().into();
    }
    let (parts, _) = problem.into_response().into_parts();
    Response::from_parts(parts, Body::from(json.to_string()))
}

#[cfg(test)]
mod commits;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod tests;
