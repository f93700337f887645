//! Bad input gets a 4xx problem whose code and field say what to correct, and writes nothing.

use amends::client::{Answer, Client, order_of};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;

pub(crate) async fn bad_bodies_name_the_field_and_write_nothing(platform: &Platform) -> Result<()> {
    let line = |quantity: serde_json::Value| {
        json!({"items": [{"sku": "case-bad", "quantity": quantity}], "payment_method": "pm_ok"}).to_string()
    };
    let priced = |minor: serde_json::Value, currency: &str| {
        json!({"items": [{"sku": "case-bad", "quantity": 1, "unit_price": {"amount_minor": minor, "currency": currency}}], "payment_method": "pm_ok"})
            .to_string()
    };
    let lines = |items: serde_json::Value| json!({"items": items, "payment_method": "pm_ok"}).to_string();
    let many: Vec<_> = (0..101).map(|n| json!({"sku": format!("s{n}"), "quantity": 1})).collect();
    // (what, body, status, code, field)
    let table: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        ("malformed JSON", b"{\"items\": [".to_vec(), 400, "invalid_json", ""),
        ("empty body", Vec::new(), 400, "invalid_json", ""),
        ("not UTF-8", b"{\"payment_method\": \"\xff\xfe\"}".to_vec(), 400, "invalid_json", ""),
        ("an array", b"[]".to_vec(), 422, "invalid_request", ""),
        (
            "unknown field",
            br#"{"items":[{"sku":"case-bad","quantity":1}],"payment_method":"pm_ok","customer_id":"x"}"#.to_vec(),
            422,
            "unknown_field",
            "customer_id",
        ),
        (
            "unknown nested field",
            br#"{"items":[{"sku":"case-bad","quantity":1,"price":1}],"payment_method":"pm_ok"}"#.to_vec(),
            422,
            "unknown_field",
            "items[0].price",
        ),
        ("zero quantity", line(json!(0)).into(), 422, "invalid_request", "items[0].quantity"),
        ("negative quantity", line(json!(-1)).into(), 422, "invalid_request", "items[0].quantity"),
        ("huge quantity", line(json!(1_000_001)).into(), 422, "invalid_request", "items[0].quantity"),
        (
            "quantity beyond 64 bits",
            format!(
                "{{\"items\":[{{\"sku\":\"case-bad\",\"quantity\":{}}}],\"payment_method\":\"pm_ok\"}}",
                "9".repeat(40)
            )
            .into(),
            422,
            "invalid_request",
            "items[0].quantity",
        ),
        ("fractional quantity", line(json!(1.5)).into(), 422, "invalid_request", "items[0].quantity"),
        ("quantity as text", line(json!("2")).into(), 422, "invalid_request", "items[0].quantity"),
        ("no items", lines(json!([])).into(), 422, "invalid_request", "items"),
        ("too many items", lines(json!(many)).into(), 422, "invalid_request", "items"),
        (
            "a SKU twice",
            lines(json!([{"sku": "case-bad", "quantity": 1}, {"sku": "case-bad", "quantity": 1}])).into(),
            422,
            "invalid_request",
            "items[1].sku",
        ),
        ("empty SKU", lines(json!([{"sku": "", "quantity": 1}])).into(), 422, "invalid_request", "items[0].sku"),
        (
            "unknown SKU",
            lines(json!([{"sku": "case-bad", "quantity": 1}, {"sku": "no-such-sku", "quantity": 1}])).into(),
            422,
            "unknown_sku",
            "items[1].sku",
        ),
        (
            "no payment method",
            br#"{"items":[{"sku":"case-bad","quantity":1}]}"#.to_vec(),
            422,
            "invalid_request",
            "payment_method",
        ),
        (
            "odd payment method",
            br#"{"items":[{"sku":"case-bad","quantity":1}],"payment_method":"4111 1111"}"#.to_vec(),
            422,
            "invalid_request",
            "payment_method",
        ),
        ("negative price", priced(json!(-1), "EUR").into(), 422, "invalid_request", "items[0].unit_price.amount_minor"),
        (
            "fractional price",
            priced(json!(18.5), "EUR").into(),
            422,
            "invalid_request",
            "items[0].unit_price.amount_minor",
        ),
        (
            "unknown currency",
            priced(json!(1850), "EURO").into(),
            422,
            "invalid_request",
            "items[0].unit_price.currency",
        ),
        (
            "mixed currencies",
            lines(json!([{"sku": "case-bad", "quantity": 1}, {"sku": "case-dollar", "quantity": 1}])).into(),
            422,
            "mixed_currencies",
            "items[1].unit_price.currency",
        ),
        (
            "overflow of the total",
            lines(json!([{"sku": "case-dear", "quantity": 1_000_000}])).into(),
            422,
            "total_overflow",
            "items[0].quantity",
        ),
    ];
    let clumsy = platform.user("clumsy").await?;
    for (what, body, status, code, field) in table {
        let request = clumsy.request(Method::POST, "/v1/orders").header("idempotency-key", key());
        let answer = clumsy.send(request.header("content-type", "application/json").body(body)).await.context(what)?;
        problem(&answer, status, code, field).with_context(|| what.to_owned())?;
    }
    nothing_written(&clumsy).await
}

pub(crate) async fn bad_headers_are_refused(platform: &Platform) -> Result<()> {
    let clumsy = platform.user("clumsy").await?;
    let order = order_of("case-bad", 1, "pm_ok");
    let request = || clumsy.request(Method::POST, "/v1/orders");
    problem(&clumsy.send(request().json(&order)).await?, 400, "missing_idempotency_key", "idempotency_key")?;
    let long = "k".repeat(256);
    problem(
        &clumsy.send(request().header("idempotency-key", "").json(&order)).await?,
        400,
        "missing_idempotency_key",
        "idempotency_key",
    )?;
    for bad in [long.as_str(), "two words"] {
        problem(
            &clumsy.send(request().header("idempotency-key", bad).json(&order)).await?,
            422,
            "invalid_idempotency_key",
            "idempotency_key",
        )?;
    }
    let text = request().header("idempotency-key", key()).header("content-type", "text/plain").body(order.to_string());
    problem(&clumsy.send(text).await?, 415, "unsupported_media_type", "")?;
    let none = request().header("idempotency-key", key()).body(order.to_string());
    problem(&clumsy.send(none).await?, 415, "unsupported_media_type", "")?;
    let put = clumsy.request(Method::PUT, "/v1/orders").json(&order);
    problem(&clumsy.send(put).await?, 405, "method_not_allowed", "")?;
    problem(&clumsy.get("/v1/no-such-thing").await?, 404, "not_found", "")?;
    problem(&clumsy.get("/v1/orders/not-an-id").await?, 404, "order_not_found", "")?;
    nothing_written(&clumsy).await
}

pub(crate) async fn a_body_of_ten_megabytes_is_413(platform: &Platform) -> Result<()> {
    let clumsy = platform.user("clumsy").await?;
    let request = clumsy
        .request(Method::POST, "/v1/orders")
        .header("idempotency-key", key())
        .header("content-type", "application/json");
    let answer = clumsy.send(request.body(vec![b' '; 10 * 1024 * 1024])).await?;
    problem(&answer, 413, "payload_too_large", "")?;
    nothing_written(&clumsy).await
}

fn problem(answer: &Answer, status: u16, code: &str, field: &str) -> Result<()> {
    ensure!(
        answer.status.as_u16() == status && answer.text("/code") == code,
        "expected {status} {code}, got {} {}",
        answer.status,
        answer.body
    );
    ensure!(
        answer.header("content-type").starts_with("application/problem+json"),
        "not a problem: {:?}",
        answer.headers
    );
    ensure!(field.is_empty() || answer.text("/errors/0/field") == field, "expected field {field}: {}", answer.body);
    Ok(())
}

async fn nothing_written(caller: &Client) -> Result<()> {
    let orders = caller.get("/v1/orders").await?;
    ensure!(orders.body["orders"].as_array().is_some_and(Vec::is_empty), "something was written: {}", orders.body);
    Ok(())
}
