//! The expressions of the shipped dashboards, as Grafana would ask them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One expression of one panel.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) dashboard: String,
    pub(crate) panel: String,
    pub(crate) expression: String,
}

/// What a panel that asks about `$service` is asked about, in turn, until one has an answer.
pub(crate) const SERVICES: [&str; 5] =
    ["order-service", "gateway", "payment-service", "inventory-service", "identity-service"];

/// The folder with what is shipped.
pub(crate) fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../observability")
}

/// All of them.
pub(crate) fn expressions() -> Result<Vec<Asked>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(shipped().join("grafana/dashboards"))? {
        let path = entry?.path();
        let board: Value =
            serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        let dashboard = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for panel in board["panels"].as_array().context("a dashboard has panels")? {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let Some(expression) = target["expr"].as_str() else { continue };
                all.push(Asked {
                    dashboard: dashboard.clone(),
                    panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                    expression: expression.replace("$__rate_interval", "1m"),
                });
            }
        }
    }
    Ok(all)
}

/// What is rightly empty here, by a part of the expression, and why.
pub(crate) const MAY_BE_EMPTY: &[(&str, &str)] = &[
    ("tls_certificate_not_after", "the gateway of this proof speaks no TLS"),
    ("service_name=", "made by the collector, which this proof runs by itself"),
    ("telemetry_spans_", "no collector is configured here, so no span is exported or lost"),
    ("pg_", "PostgreSQL's exporter is an image of compose"),
    ("mongodb_", "MongoDB's exporter is an image of compose"),
    ("redis_", "Redis's exporter is an image of compose"),
    ("webhook_", "no endpoint is configured here: tests of the platform deliver to one"),
    ("retries_total{", "sagas plan their attempts themselves; only reads are tried again below them"),
    ("gateway_upstream_retries_total", "no upstream of the gateway breaks its connections here"),
    (
        "payment_authorizations_total",
        "an order charges; merchants authorize through the payment service's own interface",
    ),
    ("payment_captures_total", "as authorizations"),
    ("payment_voids_total", "as authorizations"),
    ("token_revocations", "no user of this proof logs out"),
    ("refresh_reuses", "no stolen session is used here"),
    ("gateway_refusals_total{code=~", "there is room for this load"),
    ("inventory_reservations_expired", "no reservation is left to expire here"),
    (
        "db_operation_name, error_type) (rate(db_client_operation_duration_seconds_count{service=\"$service\", error_type!=\"\"}",
        "no database fails here",
    ),
    (
        "error_type) (rate(db_client_operation_duration_seconds_count{service!=\"\", error_type!=\"\"}",
        "no database fails here",
    ),
    (
        "http_client_request_duration_seconds_count{service=\"$service\", error_type!=\"\"",
        "only where an upstream of the gateway fails itself",
    ),
];

/// Why this one may be.
pub(crate) fn excuse(expression: &str) -> Option<&'static str> {
    MAY_BE_EMPTY.iter().find(|(part, _)| expression.contains(part)).map(|(_, why)| *why)
}
