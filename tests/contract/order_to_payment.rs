//! What the order service relies on when it charges and refunds over gRPC, as message contracts bound to the real protobuf types: its
//! real client talks to a double that knows nothing but the pact, and a field that the types do not have fails the test.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use amends_primitives::{Currency, Money, Timestamp};
use axum::{Json, Router, routing::post};
use order_service::ports::{Charge, Payments};
use pact_consumer::prelude::*;
use saga_engine::{Outcome, StepContext, StepKey, TraceContext, Undo};
use serde_json::{Value, json};
use service_base::config::{Sources, load_from};
use service_kit::Runtime;

use crate::{files, payment_double::Double};

pub(crate) const PACT: &str = "order-service-payment-service.json";
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
pub(crate) const EXAMPLE_ID: &str = "0198c0de-0000-7000-8000-000000000009";
pub(crate) const ORDER: &str = "0198c0de-0000-7000-8000-0000000000f1";

/// One saga for each interaction, so that they do not meet in the provider's store.
pub(crate) const CONFIRMED: &str = "0198c0de-0000-7000-8000-0000000000a1";
const DECLINED: &str = "0198c0de-0000-7000-8000-0000000000a2";
const NEVER_SEEN: &str = "0198c0de-0000-7000-8000-0000000000a3";
const TO_UNDO: &str = "0198c0de-0000-7000-8000-0000000000a4";

/// A charge as proto3-JSON, with the fingerprint that the real client computes.
pub(crate) fn charge(saga_id: &str, payment_method: &str, amount_minor: i64) -> Value {
    json!({
        "step_key": {"saga_id": saga_id, "step": "charge_payment", "fingerprint": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "attempt": 1},
        "order_id": ORDER,
        "customer_id": "demo",
        "amount": {"amount_minor": amount_minor.to_string(), "currency": "EUR"},
        "payment_method": payment_method,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_service_can_charge_and_compensate() {
    let written = tempfile::tempdir().unwrap();
    let mut builder = PactBuilder::new_v4("order-service", "payment-service");
    builder.with_output_dir(written.path());
    interaction(
        &mut builder,
        "Charge: a payment that succeeds",
        "no payment exists",
        request(CONFIRMED, "pm_ok"),
        json_pattern!({
            "payment": {
                "id": term!(UUID, EXAMPLE_ID), "order_id": ORDER, "customer_id": "demo", "state": "PAYMENT_STATE_CAPTURED",
                "captured": {"amount_minor": "3700", "currency": "EUR"},
            },
        }),
    );
    interaction(
        &mut builder,
        "Charge: a payment that is declined",
        "no payment exists",
        request(DECLINED, "pm_declined"),
        json_pattern!({
            "error": {"code": "FailedPrecondition", "reason": "DECLINED", "domain": "amends.payments"},
        }),
    );
    interaction(
        &mut builder,
        "CompensateCharge: a charge that was never seen",
        "no payment exists",
        compensation(NEVER_SEEN),
        json_pattern!({
            "result": "COMPENSATION_RESULT_NOTHING_TO_UNDO",
        }),
    );
    let captured = format!("a charge of 37.00 EUR was captured for saga {TO_UNDO}");
    interaction(
        &mut builder,
        "CompensateCharge: a captured charge",
        &captured,
        compensation(TO_UNDO),
        json_pattern!({
            "result": "COMPENSATION_RESULT_UNDONE",
            "payment": {"id": term!(UUID, EXAMPLE_ID), "state": "PAYMENT_STATE_REFUNDED", "refunded": {"amount_minor": "3700", "currency": "EUR"}},
        }),
    );

    let pact = Arc::new(builder.build());
    let expectations: HashMap<&str, Expectation> = HashMap::from([
        ("Charge: a payment that succeeds", Expectation::Charged(CONFIRMED, "pm_ok")),
        ("Charge: a payment that is declined", Expectation::Declined(DECLINED, "pm_declined")),
        ("CompensateCharge: a charge that was never seen", Expectation::Undone(NEVER_SEEN)),
        ("CompensateCharge: a captured charge", Expectation::Undone(TO_UNDO)),
    ]);
    let identity = token_service().await;
    for message in builder.synchronous_messages() {
        let expected = expectations[message.description.as_str()];
        let (address, double) = Double::start(message, Arc::clone(&pact)).await;
        expected.hold(client(address, identity)).await;
        assert_eq!(double.mismatches(), Vec::<String>::new());
    }
    files::check(PACT, written.path());
}

/// What the saga makes of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Expectation {
    Charged(&'static str, &'static str),
    Declined(&'static str, &'static str),
    Undone(&'static str),
}

impl Expectation {
    pub(crate) async fn hold(self, payments: Arc<dyn Payments>) {
        let customer = order_service::domain::CustomerId::try_new("demo").unwrap();
        let method = |name: &str| order_service::domain::PaymentMethod::try_new(name).unwrap();
        let amount = Money::new(3700, Currency::EUR);
        let ask = |method| Charge { order: ORDER.parse().unwrap(), customer: &customer, amount, method };
        match self {
            Self::Charged(saga, name) => {
                let outcome = payments.charge(&ask(&method(name)), &step(saga)).await;
                assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            }
            Self::Declined(saga, name) => {
                let outcome = payments.charge(&ask(&method(name)), &step(saga)).await;
                assert!(matches!(&outcome, Outcome::Refused(refusal) if refusal.code == "declined"), "{outcome:?}");
            }
            Self::Undone(saga) => {
                let undo = payments.compensate(&ask(&method("pm_ok")), &step(saga)).await;
                assert!(matches!(undo, Undo::Undone), "{undo:?}");
            }
        }
    }
}

fn step(saga: &str) -> StepContext {
    StepContext {
        key: StepKey::of_definition(saga.parse().unwrap(), "charge_payment"),
        attempt: 1,
        now: Timestamp::from_millis(1_700_000_000_000),
        timeout: Duration::from_secs(5),
        trace: TraceContext::none(),
    }
}

/// The real client, aimed at the double.
pub(crate) fn client(payment: SocketAddr, identity: SocketAddr) -> Arc<dyn Payments> {
    let sources = Sources::none()
        .set("order.payment.channel.url", format!("http://{payment}"))
        .set("order.service_token.identity_url", format!("http://{identity}"))
        .set("order.service_token.client_id", "order-service")
        .set("order.service_token.client_secret", "a-secret-for-tests-only");
    let config: order_service::Config = load_from("order", &sources).unwrap();
    order_service::participants(&config, &Runtime::new()).unwrap().1
}

/// A token service that gives every client a token; whether tokens are good is another contract's matter.
pub(crate) async fn token_service() -> SocketAddr {
    let answer = || async { Json(json!({"access_token": "token", "token_type": "Bearer", "expires_in": 600})) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/oauth2/token", post(answer))).await });
    address
}

/// Any fingerprint and attempt: the client computes the one, the saga counts the other.
fn step_key(saga: &str) -> JsonPattern {
    json_pattern!({
        "saga_id": saga, "step": "charge_payment", "attempt": like!(1),
        "fingerprint": term!("^[A-Za-z0-9+/]{43}=$", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    })
}

fn request(saga: &str, payment_method: &str) -> JsonPattern {
    json_pattern!({
        "step_key": step_key(saga), "order_id": ORDER, "customer_id": "demo",
        "amount": {"amount_minor": "3700", "currency": "EUR"}, "payment_method": payment_method,
    })
}

fn compensation(saga: &str) -> JsonPattern {
    json_pattern!({"charge_step_key": step_key(saga)})
}

fn interaction(builder: &mut PactBuilder, description: &str, state: &str, request: JsonPattern, response: JsonPattern) {
    let mut bodies = Some((request, response));
    builder.synchronous_message_interaction(description, |mut i| {
        i.given(state);
        if let Some((request, response)) = bodies.take() {
            i.request_json_body(request);
            i.response_json_body(response);
        }
        i
    });
}
