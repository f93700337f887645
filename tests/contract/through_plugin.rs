//! The contract of a charge once more, as Pact's protobuf plugin has it: the real client against the plugin's own gRPC server. Only where
//! `PACT_PLUGIN_DIR` holds the plugin, which no package registry carries.

use std::path::Path;

use pact_consumer::{builders::PactBuilderAsync, mock_server::StartMockServerAsync};
use serde_json::json;

use crate::order_to_payment::{self as contract, Expectation};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_service_can_charge_through_the_protobuf_plugin() {
    if amends_tests::setting("PACT_PLUGIN_DIR").is_none() {
        amends_tests::announce(
            "NOT RUN: the contract through Pact's protobuf plugin: PACT_PLUGIN_DIR does not say where it is",
        );
        return;
    }
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protos/proto");
    let charge = json!({
        "pact:proto": protos.join("amends/payments/v1/payments.proto"),
        "pact:protobuf-config": {"additionalIncludes": [protos]},
        "pact:content-type": "application/protobuf",
        "pact:proto-service": "PaymentService/Charge",
        "request": {
            "step_key": {
                "saga_id": contract::CONFIRMED, "step": "charge_payment", "attempt": "matching(number, 1)",
                "fingerprint": "matching(type, '0123456789abcdef0123456789abcdef')",
            },
            "order_id": contract::ORDER, "customer_id": "demo",
            "amount": {"amount_minor": 3700, "currency": "EUR"}, "payment_method": "pm_ok",
        },
        "response": {
            "payment": {
                "id": format!("matching(type, '{}')", contract::EXAMPLE_ID), "order_id": contract::ORDER, "customer_id": "demo",
                "state": "PAYMENT_STATE_CAPTURED", "captured": {"amount_minor": 3700, "currency": "EUR"},
            },
        },
    });
    // Not committed: what it says is what `order_to_payment` says, in the plugin's words.
    let written = tempfile::tempdir().unwrap();
    let mut builder = PactBuilderAsync::new_v4("order-service", "payment-service");
    builder.output_dir(written.path());
    let server = builder
        .using_plugin("protobuf", None)
        .await
        .synchronous_message_interaction("Charge: a payment that succeeds", |mut interaction| async move {
            interaction.contents_from(charge).await;
            interaction
        })
        .await
        .start_mock_server_async(Some("protobuf/transport/grpc"), None)
        .await;
    let url = server.url();
    let address = url.socket_addrs(|| None).unwrap()[0];
    let payments = contract::client(address, contract::token_service().await);
    Expectation::Charged(contract::CONFIRMED, "pm_ok").hold(payments).await;
}
