//! The configuration of a platform under test: users, clients, a catalogue in which each case has its own articles.

use serde_json::{Value, json};

/// The password of every user.
pub const PASSWORD: &str = "a password for tests only";
/// The secret of every client.
pub(super) const CLIENT_SECRET: &str = "a-client-secret-for-tests-only-0123456789";
/// What the acquirer knows the payment service by.
pub(super) const MERCHANT_SECRET: &str = "a-merchant-secret-for-tests-only";
/// Of the token service's keys: 32 bytes in base64.
pub(super) const KEY_ENCRYPTION_KEY: &str = "dGVzdHMgb25seTogMzIgYnl0ZXMgb2Yga2V5IHg5ISE=";
/// The issuer of the tokens; no connection is made to it.
pub(super) const ISSUER: &str = "http://127.0.0.1:8081";

const ORDER_SCOPES: [&str; 4] = ["payments:read", "payments:write", "inventory:read", "inventory:write"];

/// The catalogue: (SKU, minor units, currency, on hand).
fn catalogue() -> Vec<(&'static str, i64, &'static str, i64)> {
    let plenty = |sku| (sku, 1850, "EUR", 1_000_000);
    let mut items: Vec<_> = [
        "espresso-1kg",
        "case-confirmed",
        "case-declined",
        "case-refused",
        "case-repeat",
        "case-reuse",
        "case-twins",
        "case-foreign",
        "case-async",
        "case-cancel",
        "case-list",
        "case-trace",
        "case-price",
        "case-headers",
        "case-grpc",
        "case-bad",
        "case-chaos",
        "case-dependencies",
    ]
    .map(plenty)
    .into();
    items.push(("case-scarce", 1850, "EUR", 3));
    items.push(("case-rush", 1850, "EUR", 100));
    items.push(("case-cent", 1, "EUR", 10_000_000));
    items.push(("case-dollar", 1850, "USD", 1_000));
    items.push(("case-dear", i64::MAX / 2, "EUR", 10_000_000));
    items.push((amends::catalogue::REFUSED_AT_PIVOT, 3200, "EUR", 1_000_000));
    items
}

/// The users and what they may do.
pub(super) fn bootstrap() -> Value {
    let shopper = ["orders:read", "orders:write", "items:read"];
    let user = |name: &str, scopes: &[&str]| json!({"username": name, "password": PASSWORD, "scopes": scopes});
    let client = |id: &str, scopes: &[&str]| json!({"client_id": id, "client_secret": CLIENT_SECRET, "scopes": scopes, "grant_types": ["client_credentials"]});
    let users: Vec<Value> =
        ["demo", "other", "pager", "clumsy", "leaver"].iter().map(|name| user(name, &shopper)).collect();
    let users = users.into_iter().chain([user("reader", &["orders:read"])]).collect::<Vec<_>>();
    let operator = ["orders:admin", "orders:read", "items:read", "payments:read", "inventory:read"];
    json!({"users": users, "clients": [client("order-service", &ORDER_SCOPES), client("amends-operator", &operator)]})
}

/// What both ways of running share.
pub(super) fn shared() -> Value {
    let seed: Vec<Value> = catalogue()
        .into_iter()
        .map(|(sku, minor, currency, on_hand)| json!({"sku": sku, "name": sku, "amount_minor": minor, "currency": currency, "on_hand": on_hand}))
        .collect();
    json!({
        "identity": {"key_encryption_key": KEY_ENCRYPTION_KEY, "issuer": ISSUER, "bootstrap": bootstrap()},
        "inventory": {"seed": seed, "faults": {"refuse_commit_skus": [amends::catalogue::REFUSED_AT_PIVOT]}},
        "order": {"service_token": {"client_id": "order-service", "client_secret": CLIENT_SECRET, "scope": ORDER_SCOPES.join(" ")}},
        "telemetry": {"log_format": "bunyan", "filter": "info,story=info"},
    })
}

/// Merges `more` into `into`, table by table.
pub(super) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
