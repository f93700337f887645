//! `POST /v1/orders` in odd forms: each has one answer, and none places an order it should not.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request},
};

use crate::testkit::{Platform, Reply, demo};

const ORDER: &str = r#"{"items":[{"sku":"beans","quantity":1}],"payment_method":"pm_ok"}"#;

type Header<'a> = (&'a str, &'a str);
const JSON: Header = ("content-type", "application/json");
const KEY: Header = ("idempotency-key", "k");

/// A request with exactly these headers.
async fn send(platform: &Platform, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let mut request = Request::post("/v1/orders").body(body.into()).unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
    }
    platform.send(demo(), request).await
}

/// Status and code, and with 422 a field to correct.
fn check(reply: &Reply, answer: &str, what: &str) {
    let refusal = reply.refusal();
    let field = refusal.strip_prefix(answer).unwrap_or_else(|| panic!("{what}: {answer} was expected: {reply:?}"));
    assert!(!answer.starts_with("422") || !field.trim().is_empty(), "{what}: no field in {reply:?}");
}

#[tokio::test]
async fn odd_headers_have_their_answers_and_place_nothing() {
    let platform = Platform::new().await;
    let long = "k".repeat(256);
    // (what is odd, headers, the answer)
    let table: &[(&str, &[Header], &str)] = &[
        ("gzip", &[JSON, KEY, ("content-encoding", "gzip")], "415 unsupported_media_type"),
        ("brotli among others", &[JSON, KEY, ("content-encoding", "identity, br")], "415 unsupported_media_type"),
        (
            "two lines",
            &[JSON, KEY, ("content-encoding", "identity"), ("content-encoding", "zstd")],
            "415 unsupported_media_type",
        ),
        ("a coded transfer", &[JSON, KEY, ("transfer-encoding", "gzip, chunked")], "400 bad_request"),
        ("no type", &[KEY], "415 unsupported_media_type"),
        ("text", &[KEY, ("content-type", "text/json")], "415 unsupported_media_type"),
        ("a form", &[KEY, ("content-type", "application/x-www-form-urlencoded")], "415 unsupported_media_type"),
        ("Latin-1", &[KEY, ("content-type", "application/json;charset=latin1")], "415 unsupported_media_type"),
        ("UTF-16", &[KEY, ("content-type", "application/json; charset=\"utf-16\"")], "415 unsupported_media_type"),
        ("two types", &[KEY, JSON, ("content-type", "text/plain")], "415 unsupported_media_type"),
        ("only HTML is accepted", &[JSON, KEY, ("accept", "text/html")], "406 not_acceptable"),
        ("JSON is not accepted", &[JSON, KEY, ("accept", "*/*, application/json;q=0")], "406 not_acceptable"),
        ("no key", &[JSON], "400 missing_idempotency_key"),
        ("an empty key", &[JSON, ("idempotency-key", "")], "400 missing_idempotency_key"),
        ("two keys", &[JSON, KEY, ("idempotency-key", "l")], "422 invalid_idempotency_key"),
        ("one key twice", &[JSON, KEY, KEY], "422 invalid_idempotency_key"),
        ("a key of two words", &[JSON, ("idempotency-key", "a b")], "422 invalid_idempotency_key"),
        ("a key with a tab", &[JSON, ("idempotency-key", "a\tb")], "422 invalid_idempotency_key"),
        ("a key that is not ASCII", &[JSON, ("idempotency-key", "k\u{e9}")], "422 invalid_idempotency_key"),
        ("a key that is too long", &[JSON, ("idempotency-key", long.as_str())], "422 invalid_idempotency_key"),
    ];
    for (what, headers, answer) in table {
        let reply = send(&platform, headers, ORDER).await;
        check(&reply, answer, what);
        let is_coded = headers.iter().any(|(name, _)| *name == "content-encoding");
        assert_eq!(reply.header("accept-encoding"), is_coded.then_some("identity"), "{what}");
    }
    assert_eq!(platform.finish().await.len(), 0);
}

#[tokio::test]
async fn odd_headers_that_change_nothing_are_read_over() {
    let platform = Platform::new().await;
    let table: &[&[(&str, &str)]] = &[
        &[("content-encoding", "identity")],
        &[("content-encoding", "")],
        &[("transfer-encoding", "chunked")],
        &[("accept", "text/html, application/*;q=0.1")],
        &[("range", "bytes=0-1")],
        &[("te", "trailers, gzip;q=0.5")],
        &[("grpc-timeout", "1n")],
        &[("accept-charset", "latin1")],
        &[("accept-encoding", "identity;q=0")],
        &[("prefer", "respond-async=false")],
        &[("prefer", "respond-async=\"no\"; x, handling=strict")],
        &[("prefer", "x=\"respond-async\"")],
        &[("prefer", "wait=abc, return=minimal")],
        &[("prefer", "wait=-1")],
    ];
    for (n, odd) in table.iter().enumerate() {
        let key = format!("k{n}");
        let mut headers = vec![("content-type", "application/json; charset=UTF-8"), ("idempotency-key", key.as_str())];
        headers.extend(*odd);
        let reply = send(&platform, &headers, ORDER).await;
        assert_eq!(reply.status, 201, "{odd:?}: {reply:?}");
        assert_eq!(reply.header("preference-applied"), None, "{odd:?}");
    }
    assert_eq!(platform.finish().await.len(), table.len());
}

#[tokio::test]
async fn odd_bodies_have_their_answers_and_place_nothing() {
    let platform = Platform::new().await;
    let twice = ORDER.replace("\"payment_method\"", "\"payment_method\":\"pm_declined\",\"payment_method\"");
    let deep = format!("{{\"items\":{}{},\"payment_method\":\"pm_ok\"}}", "[".repeat(20_000), "]".repeat(20_000));
    let with_quantity = |quantity: &str| ORDER.replace("\"quantity\":1", &format!("\"quantity\":{quantity}"));
    // (what is odd, the body, the answer)
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a key twice", twice.into(), "422 invalid_request"),
        ("a byte order mark", format!("\u{feff}{ORDER}").into(), "400 invalid_json"),
        ("Latin-1", ORDER.replace("pm_ok", "pm_\u{e9}").chars().map(|char| char as u8).collect(), "400 invalid_json"),
        ("UTF-16", ORDER.encode_utf16().flat_map(u16::to_le_bytes).collect(), "400 invalid_json"),
        ("NaN", with_quantity("NaN").into(), "400 invalid_json"),
        ("an exponent", with_quantity("1e0").into(), "422 invalid_request"),
        ("a huge exponent", with_quantity("1e999").into(), "400 invalid_json"),
        ("a fraction of nothing", with_quantity("1.0").into(), "422 invalid_request"),
        ("a minus zero", with_quantity("-0").into(), "422 invalid_request"),
        ("two documents", format!("{ORDER}{ORDER}").into(), "400 invalid_json"),
        ("depth", deep.into(), "422 invalid_request"),
        ("gzip without saying so", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "400 invalid_json"),
        ("too long", vec![b' '; crate::http::BODY_BYTES_MAX + 1], "413 payload_too_large"),
    ];
    for (what, body, answer) in table {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let reply = send(&platform, &headers, body).await;
        check(&reply, answer, what);
    }
    assert_eq!(platform.finish().await.len(), 0);
}
