//! Errors as the OpenAPI document describes them; `service_base` writes them.

use serde::Serialize;
use utoipa::ToSchema;

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
