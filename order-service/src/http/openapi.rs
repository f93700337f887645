//! The OpenAPI document of this interface, committed as `protos/openapi/orders.v1.yaml` and compared by a test.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    items, orders,
    problem::{FieldErrorView, ProblemView},
};

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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::Value;

    use super::*;

    /// YAML with every string quoted as JSON quotes it, which YAML reads too.
    fn yaml(value: &Value, indent: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        let plain = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let empty = |value: &Value| match value {
            Value::Object(object) => object.is_empty(),
            Value::Array(array) => array.is_empty(),
            _ => true,
        };
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let starts_with_digit = key.starts_with(|first: char| first.is_ascii_digit());
                    let key = if plain(key) && !starts_with_digit { key.clone() } else { format!("{key:?}") };
                    if empty(value) {
                        writeln!(out, "{pad}{key}: {value}").unwrap();
                    } else {
                        writeln!(out, "{pad}{key}:").unwrap();
                        yaml(value, indent + 2, out);
                    }
                }
            }
            Value::Array(array) => {
                for value in array {
                    if empty(value) {
                        writeln!(out, "{pad}- {value}").unwrap();
                    } else {
                        let mut item = String::new();
                        yaml(value, indent + 2, &mut item);
                        out.push_str(&pad);
                        out.push_str("- ");
                        out.push_str(item.trim_start());
                    }
                }
            }
            scalar => writeln!(out, "{pad}{scalar}").unwrap(),
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "how generated files are refreshed is told to tests by the environment"
    )]
    fn the_committed_document_is_current() {
        let mut current = String::from(
            "# Generated from order-service/src/http by its test `the_committed_document_is_current`; AMENDS_GEN=write refreshes it.\n",
        );
        yaml(&serde_json::to_value(Document::openapi()).unwrap(), 0, &mut current);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protos/openapi/orders.v1.yaml");
        if std::env::var("AMENDS_GEN").is_ok_and(|how| how == "write") {
            std::fs::create_dir_all(std::path::Path::new(file).parent().unwrap()).unwrap();
            std::fs::write(file, &current).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == current,
            "protos/openapi/orders.v1.yaml is not current: run this test with AMENDS_GEN=write"
        );
    }

    /// Every route that is served is in the document, and the other way round.
    #[test]
    fn every_route_is_described() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let described: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served = [
            "/v1/items",
            "/v1/items/{sku}",
            "/v1/orders",
            "/v1/orders/{id}",
            "/v1/orders/{id}/cancel",
            "/v1/orders/{id}/saga",
        ];
        assert_eq!(described, served);
    }
}
