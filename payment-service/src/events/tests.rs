//! What is published is a contract.

use amends_primitives::{Currency, OrderId, SagaId, Timestamp};
use uuid::Uuid;

use super::*;
use crate::domain::{
    Charge, CustomerId, DeclineReason, Fingerprint, Mode, PaymentMethod, Receipt, RefundKey, StepKey, evolve,
};

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn step(name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(1)), name).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn pending() -> Payment {
    let charge = Charge {
        key: step("charge_payment"),
        fingerprint: Fingerprint::new([0xAB; 32]),
        order_id: OrderId::new(Uuid::from_u128(2)),
        customer_id: CustomerId::try_new("demo \"quoted\"").unwrap(),
        amount: eur(3700),
        method: PaymentMethod::try_new("pm_secret_token").unwrap(),
        mode: Mode::Charge,
    };
    Payment::intended(PaymentId::new(Uuid::from_u128(3)), charge, AT)
}

fn told(payment: &mut Payment, event: &Event) -> Option<Outgoing> {
    *payment = evolve(payment, event, AT).unwrap();
    outgoing(event, payment)
}

/// Sent the same for ever: receivers outlive every version of this code.
fn check(golden: &str, told: Option<Outgoing>) {
    let body = told.unwrap().body;
    let written: serde_json::Value = serde_json::from_str(&body).unwrap();
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, golden, "{}", serde_json::to_string_pretty(&written).unwrap());
    assert!(!body.contains("pm_secret_token") && !body.contains("charge-1"), "{body}");
}

#[test]
fn what_is_sent_is_as_ever() {
    let mut payment = pending();
    let captured = Event::Captured { amount: eur(3700), receipt: Receipt::new("charge-1") };
    check(include_str!("../../tests/golden/payment.captured.v1.json"), told(&mut payment, &captured));
    let key = RefundKey::Step(step("refund_payment"));
    let asked = Event::RefundAsked { key: key.clone(), fingerprint: None, asked: None, amount: eur(700) };
    assert_eq!(told(&mut payment, &asked), None, "an intent is nobody's business");
    let refunded = Event::RefundDone { key, receipt: Receipt::new("refund-1") };
    check(include_str!("../../tests/golden/payment.refunded.v1.json"), told(&mut payment, &refunded));

    let declined = Event::Declined { reason: DeclineReason::InsufficientFunds };
    check(include_str!("../../tests/golden/payment.declined.v1.json"), told(&mut pending(), &declined));
}

#[test]
fn an_event_is_named_after_the_payment_and_its_version() {
    let mut payment = pending();
    let captured = Event::Captured { amount: eur(3700), receipt: Receipt::new("charge-1") };
    let id = told(&mut payment, &captured).unwrap().id;
    assert_eq!(id, "evt_00000000000000000000000000000003_0002");
    assert_eq!(id, outgoing(&captured, &payment).unwrap().id);
    assert!(!id.contains('.'), "a full stop separates what is signed");
}

#[test]
fn names_go_there_and_back() {
    for kind in EventType::ALL {
        assert_eq!(EventType::from_name(kind.name()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    assert_eq!(EventType::from_name("payment.gifted"), None);
}
