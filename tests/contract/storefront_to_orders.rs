//! What a storefront relies on when it places and reads orders over REST.

use std::collections::HashMap;

use amends::client::{Client, order_of};
use amends_tests::platform::Platform;
use async_trait::async_trait;
use pact_consumer::{builders::InteractionBuilder, prelude::*};
use serde_json::Value;

use crate::{files, verify};

const PACT: &str = "storefront-order-service.json";
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
const EXAMPLE_ID: &str = "0198c0de-0000-7000-8000-000000000001";
const NO_SUCH_ORDER: &str = "/v1/orders/00000000-0000-7000-8000-000000000000";

/// The consumer: our own client against a server that knows nothing but the pact.
#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_can_place_and_read_orders() {
    let written = tempfile::tempdir().unwrap();
    {
        let mut pact = PactBuilder::new_v4("storefront", "order-service");
        pact.with_output_dir(written.path());
        pact.interaction("place an order that can be paid", "", |mut i| {
            i.given("espresso-1kg is in stock at 18.50 EUR");
            request(&mut i, "pact-confirmed", "pm_ok");
            i.response.status(201);
            i.response.header("Location", term!("^/v1/orders/[0-9a-f-]{36}$", format!("/v1/orders/{EXAMPLE_ID}")));
            i.response.content_type("application/json").json_body(json_pattern!({
                "id": term!(UUID, EXAMPLE_ID),
                "status": "confirmed",
                "customer_id": like!("demo"),
                "items": each_like!({"sku": like!("espresso-1kg"), "quantity": like!(2), "unit_price": {"amount_minor": like!(1850), "currency": term!("^[A-Z]{3}$", "EUR")}}),
                "total": {"amount_minor": 3700, "currency": "EUR"},
                "payment": {"id": term!(UUID, EXAMPLE_ID), "status": "captured"},
                "saga": {"id": term!(UUID, EXAMPLE_ID), "status": "completed"},
                "created_at": term!("^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$", "2026-11-20T18:17:00.000001Z"),
            }));
            i
        });
        pact.interaction("place an order whose payment is declined", "", |mut i| {
            i.given("espresso-1kg is in stock at 18.50 EUR");
            request(&mut i, "pact-declined", "pm_declined");
            i.response.status(402);
            i.response.header("Location", term!("^/v1/orders/[0-9a-f-]{36}$", format!("/v1/orders/{EXAMPLE_ID}")));
            problem(&mut i, 402, "payment_declined");
            i
        });
        pact.interaction("read an order that does not exist", "", |mut i| {
            i.request.get().path(NO_SUCH_ORDER);
            i.response.status(404);
            problem(&mut i, 404, "order_not_found");
            i
        });
        let server = pact.start_mock_server(None, None);
        let address = format!("127.0.0.1:{}", server.url().port().unwrap()).parse().unwrap();
        let client = Client::new(address).unwrap();

        let confirmed = client.place("pact-confirmed", &order_of("espresso-1kg", 2, "pm_ok")).await.unwrap();
        assert_eq!((confirmed.status.as_u16(), confirmed.text("/status")), (201, "confirmed"));
        let declined = client.place("pact-declined", &order_of("espresso-1kg", 2, "pm_declined")).await.unwrap();
        assert_eq!((declined.status.as_u16(), declined.text("/code")), (402, "payment_declined"));
        let missing = client.get(NO_SUCH_ORDER).await.unwrap();
        assert_eq!((missing.status.as_u16(), missing.text("/code")), (404, "order_not_found"));
    }
    files::check(PACT, written.path());
}

/// The provider: everything in one process, behind its gateway, with a real token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_service_keeps_its_promises_to_the_storefront() {
    let platform = Platform::embedded().await.unwrap();
    let token = platform.demo().await.unwrap().token().unwrap().to_owned();
    let headers = HashMap::from([("Authorization".to_owned(), format!("Bearer {token}"))]);
    let kept =
        verify::verify("order-service", platform.gateway, "http", &files::committed(PACT), headers, Seeded).await;
    assert!(kept, "a promise was broken");
    platform.stop().await.unwrap();
}

/// The catalogue is seeded at the start: there is nothing to prepare.
#[derive(Debug)]
struct Seeded;

#[async_trait]
impl verify::States for Seeded {
    async fn enter(&self, state: &str) -> anyhow::Result<HashMap<String, Value>> {
        // An interaction that starts from nothing in particular names no state.
        anyhow::ensure!(["", "espresso-1kg is in stock at 18.50 EUR"].contains(&state), "no such state: {state}");
        Ok(HashMap::new())
    }
}

fn request(i: &mut InteractionBuilder, key: &str, payment_method: &str) {
    i.request.post().path("/v1/orders").header("Idempotency-Key", key).content_type("application/json").json_body(
        json_pattern!({
            "items": [{"sku": "espresso-1kg", "quantity": 2}],
            "payment_method": payment_method,
        }),
    );
}

fn problem(i: &mut InteractionBuilder, status: u16, code: &str) {
    i.response.content_type("application/problem+json").json_body(json_pattern!({
        "status": status,
        "code": code,
        "title": like!("a short summary"),
        "detail": like!("a sentence for people"),
    }));
}
