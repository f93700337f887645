//! Replays what the order service relies on against the real payment service: each message of the pact becomes a real gRPC call,
//! and its answer becomes JSON again.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use amends_protos::payments::v1::{
    ChargeRequest, CompensateChargeRequest, RefundRequest, payment_service_client::PaymentServiceClient,
};
use amends_tests::platform::Platform;
use async_trait::async_trait;
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};
use tonic_types::StatusExt;

use crate::{files, order_to_payment::PACT, proto_json, verify};

const PACKAGE: &str = "amends.payments.v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payment_service_keeps_its_promises_to_the_order_service() {
    let platform = Platform::embedded().await.unwrap();
    let token = platform.order_service_token().await.unwrap();
    let client = PaymentServiceClient::connect(format!("http://{}", platform.payment)).await.unwrap();
    let shim = Arc::new(Shim { client, token });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(call)).with_state(Arc::clone(&shim));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let kept =
        verify::verify("payment-service", address, "message", &files::committed(PACT), HashMap::new(), Ledger(shim))
            .await;
    server.abort();
    assert!(kept, "a promise was broken");
    platform.stop().await.unwrap();
}

#[derive(Debug)]
struct Shim {
    client: PaymentServiceClient<Channel>,
    token: String,
}

impl Shim {
    fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(request)
    }

    /// Calls the method that the interaction's description begins with, as `Charge: …`.
    async fn call(&self, description: &str, request: &Value) -> anyhow::Result<Value> {
        let method = description.split(':').next().unwrap_or_default();
        let mut client = self.client.clone();
        let name = |suffix: &str| format!("{PACKAGE}.{method}{suffix}");
        macro_rules! answer {
            ($type:ty, $call:ident) => {{
                let message: $type = proto_json::decode(&name("Request"), request)?;
                match client.$call(self.request(message)?).await {
                    Ok(response) => proto_json::encode(&name("Response"), &response.into_inner())?,
                    Err(status) => refusal(&status),
                }
            }};
        }
        Ok(match method {
            "Charge" => answer!(ChargeRequest, charge),
            "CompensateCharge" => answer!(CompensateChargeRequest, compensate_charge),
            "Refund" => answer!(RefundRequest, refund),
            other => anyhow::bail!("no such method: {other}"),
        })
    }
}

/// A refusal as the contract writes it: the gRPC code and the stable reason.
fn refusal(status: &tonic::Status) -> Value {
    let details = status.get_error_details();
    let info = details.error_info().map(|info| (info.reason.clone(), info.domain.clone())).unwrap_or_default();
    json!({"error": {"code": format!("{:?}", status.code()), "reason": info.0, "domain": info.1}})
}

async fn call(
    State(shim): State<Arc<Shim>>,
    Json(interaction): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let description = interaction["description"].as_str().unwrap_or_default();
    let contents = &interaction["request"]["contents"];
    // A pact file keeps JSON contents either as they are or, with `encoded`, as base64 text.
    let request = match (contents["encoded"].as_str(), &contents["content"]) {
        (Some("base64"), Value::String(text)) => {
            BASE64.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null)
        }
        (_, content) => content.clone(),
    };
    shim.call(description, &request)
        .await
        .map(Json)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))
}

/// Prepares the payment an interaction starts from.
#[derive(Debug)]
struct Ledger(Arc<Shim>);

#[async_trait]
impl verify::States for Ledger {
    async fn enter(&self, state: &str) -> anyhow::Result<HashMap<String, Value>> {
        if let Some(saga_id) = state.strip_prefix("a charge of 37.00 EUR was captured for saga ") {
            let charge = crate::order_to_payment::charge(saga_id, "pm_ok", 3700);
            let answer = self.0.call("Charge", &charge).await?;
            anyhow::ensure!(answer["payment"]["state"] == "PAYMENT_STATE_CAPTURED", "not captured: {answer}");
            return Ok(HashMap::new());
        }
        anyhow::ensure!(state == "no payment exists", "no such state: {state}");
        Ok(HashMap::new())
    }
}
