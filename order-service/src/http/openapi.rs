//! The OpenAPI document of this interface, committed as `protos/openapi/orders.v1.yaml` and compared by a test.

use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{items, orders};

/// An error (RFC 9457), with our stable code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView {
    /// `https://amends.invalid/errors/<code>`
    r#type: String,
    /// What the status means.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A sentence about this very case.
    detail: String,
    /// Stable, for programs.
    #[schema(example = "insufficient_stock")]
    code: String,
    /// The fields that are wrong.
    errors: Option<Vec<FieldErrorView>>,
    /// The order this is about, where one exists.
    order_id: Option<String>,
    /// The trace to name when asking us about it.
    trace_id: Option<String>,
}

/// A field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorView {
    /// Its path.
    #[schema(example = "items[0].quantity")]
    field: String,
    /// A sentence.
    message: String,
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("at+jwt").build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Amends orders", version = "1", description = "Orders: placed, paid for and committed, or undone.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        orders::place::handle, orders::list::handle, orders::get::handle, orders::cancel::handle, orders::saga::handle,
        items::list::handle, items::get::handle,
    ),
    components(schemas(ProblemView, FieldErrorView)),
    modifiers(&Bearer),
)]
pub struct Document;
