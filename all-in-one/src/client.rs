//! A small client of the public REST interface, for the demo and for tests: what a user's own client would send.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

/// Talks to one gateway as one caller.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A string in the body by JSON pointer, empty when absent.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header as text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// A client without a token.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(gateway: SocketAddr) -> anyhow::Result<Self> {
        // Longer than any deadline a caller may ask the gateway for, so that the gateway's answer is the one we see.
        Self::with_patience(gateway, Duration::from_secs(90))
    }

    /// A client without a token, which gives up on an answer after `patience`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn with_patience(gateway: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let http = service_base::client::internal().timeout(patience).build()?;
        Ok(Self { http, base: format!("http://{gateway}"), token: None })
    }

    /// A client without a token, over connections of the caller's own making: from another address, say.
    pub fn over(gateway: SocketAddr, http: reqwest::Client) -> Self {
        Self { http, base: format!("http://{gateway}"), token: None }
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The token, once logged in.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Logs in and keeps the access token.
    ///
    /// # Errors
    /// When the gateway does not answer or refuses.
    pub async fn log_in(&self, username: &str, password: &str) -> anyhow::Result<Self> {
        let body = json!({"username": username, "password": password});
        let answer = self.send(self.request(Method::POST, "/auth/login").json(&body)).await?;
        anyhow::ensure!(answer.status.is_success(), "the login was refused: {} {}", answer.status, answer.body);
        Ok(self.with_token(answer.text("/access_token")))
    }

    /// Places an order under a key.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn place(&self, key: &str, order: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, "/v1/orders").header("idempotency-key", key).json(order)).await
    }

    /// Reads a path.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts nothing to a path.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn post(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path)).await
    }

    /// A request of this caller, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await.context("the gateway did not answer")?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.context("the answer was cut off")?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }
}

/// The body of an order of one line.
pub fn order_of(sku: &str, quantity: u32, payment_method: &str) -> Value {
    json!({"items": [{"sku": sku, "quantity": quantity}], "payment_method": payment_method})
}
