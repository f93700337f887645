//! A customer who logs in, orders, looks at the order and at the list, and changes their mind.
//!
//! Each request is named, and must be answered exactly as a customer expects: 201, not 202, for an order.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use goose::goose::{GooseResponse, TransactionError};
use goose::prelude::*;
use serde_json::{Value, json};

/// The demo user of `amends up`.
pub(crate) const USERNAME: &str = "demo";
/// Where the user's password is.
pub const PASSWORD_VARIABLE: &str = "AMENDS_LOAD_PASSWORD";

type Failed = Box<TransactionError>;

#[derive(Debug, Clone)]
struct Session {
    token: String,
    /// A token lives for minutes, a load test may last for hours.
    renew_at: Instant,
    order_id: Option<String>,
}

/// The scenario, to be registered with an attack.
///
/// # Errors
/// When goose refuses the scenario.
pub fn customer() -> Result<Scenario, GooseError> {
    Ok(scenario!("customer")
        .register_transaction(transaction!(log_in).set_name("login").set_on_start())
        .register_transaction(transaction!(place).set_name("place"))
        .register_transaction(transaction!(get).set_name("get"))
        .register_transaction(transaction!(list).set_name("list"))
        .register_transaction(transaction!(cancel).set_name("cancel")))
}

/// A customer who only orders: each request is one saga.
///
/// # Errors
/// When goose refuses the scenario.
pub fn orders() -> Result<Scenario, GooseError> {
    Ok(scenario!("orders")
        .register_transaction(transaction!(log_in).set_name("login").set_on_start())
        .register_transaction(transaction!(place).set_name("place")))
}

async fn log_in(user: &mut GooseUser) -> TransactionResult {
    let password = password()?;
    let body = json!({"username": USERNAME, "password": password});
    let answer = ask(
        user,
        &Ask { name: "login", method: GooseMethod::Post, path: "/auth/login", status: 200 },
        None,
        Some(&body),
    )
    .await?;
    let token = answer["access_token"].as_str().ok_or("a login without an access_token")?.to_owned();
    let lifetime = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(60));
    let order_id = user.get_session_data::<Session>().and_then(|session| session.order_id.clone());
    user.set_session_data(Session { token, renew_at: Instant::now() + lifetime * 4 / 5, order_id });
    Ok(())
}

async fn place(user: &mut GooseUser) -> TransactionResult {
    // Keys must differ between runs against the same instance, too: they live for a day.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if user.get_session_data::<Session>().is_none_or(|session| session.renew_at <= Instant::now()) {
        log_in(user).await?;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let key = format!("load-{}-{}", now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed));
    let body = json!({"items": [{"sku": "espresso-1kg", "quantity": 1}], "payment_method": "pm_ok"});
    let ask_for = Ask { name: "place", method: GooseMethod::Post, path: "/v1/orders", status: 201 };
    let answer = ask(user, &ask_for, Some(&key), Some(&body)).await?;
    let id = answer["id"].as_str().ok_or("an order without an id")?.to_owned();
    if let Some(session) = user.get_session_data_mut::<Session>() {
        session.order_id = Some(id);
    }
    Ok(())
}

async fn get(user: &mut GooseUser) -> TransactionResult {
    let path = format!("/v1/orders/{}", order_id(user)?);
    ask(user, &Ask { name: "get", method: GooseMethod::Get, path: &path, status: 200 }, None, None).await.map(drop)
}

async fn list(user: &mut GooseUser) -> TransactionResult {
    let path = "/v1/orders?limit=20";
    ask(user, &Ask { name: "list", method: GooseMethod::Get, path, status: 200 }, None, None).await.map(drop)
}

async fn cancel(user: &mut GooseUser) -> TransactionResult {
    let path = format!("/v1/orders/{}/cancel", order_id(user)?);
    ask(user, &Ask { name: "cancel", method: GooseMethod::Post, path: &path, status: 200 }, None, None).await.map(drop)
}

struct Ask<'a> {
    name: &'a str,
    method: GooseMethod,
    path: &'a str,
    status: u16,
}

async fn ask(user: &mut GooseUser, ask: &Ask<'_>, key: Option<&str>, body: Option<&Value>) -> Result<Value, Failed> {
    let mut builder = user.get_request_builder(&ask.method, ask.path)?;
    if let Some(session) = user.get_session_data::<Session>() {
        builder = builder.bearer_auth(&session.token);
    }
    if let Some(key) = key {
        builder = builder.header("idempotency-key", key);
    }
    if let Some(body) = body {
        builder = builder.json(body);
    }
    let request = GooseRequest::builder()
        .method(ask.method)
        .path(ask.path)
        .name(ask.name)
        .expect_status_code(ask.status)
        .set_request_builder(builder)
        .build();
    let GooseResponse { request: mut metric, response, .. } = user.request(request).await?;
    let response = response?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    if status != ask.status {
        // Counted as failed already, by its status; this says why on the console.
        return Err(format!("{} answered {status}: {text}", ask.name).into());
    }
    match serde_json::from_str(&text) {
        Ok(value) => Ok(value),
        Err(_) => user.set_failure("not JSON", &mut metric, None, Some(&text)).map(|()| Value::Null),
    }
}

fn order_id(user: &GooseUser) -> Result<String, Failed> {
    let session = user.get_session_data::<Session>();
    session.and_then(|session| session.order_id.clone()).ok_or_else(|| "no order was placed before".to_owned().into())
}

/// The demo user's password.
///
/// # Errors
/// When the environment does not say it.
pub fn password() -> Result<String, String> {
    let value = std::env::var_os(PASSWORD_VARIABLE).and_then(|value| value.into_string().ok());
    value.ok_or_else(|| format!("{PASSWORD_VARIABLE} is not set: the demo user's password"))
}
