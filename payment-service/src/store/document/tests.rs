//! What is stored is a contract: golden files, and what is not believed.

use amends_primitives::{OrderId, PaymentId, SagaId};
use uuid::Uuid;

use super::*;
use crate::domain::{Event, Fingerprint, RefundKey, StepKey, Wanted, evolve};

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn step(name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(1)), name).unwrap()
}

fn pending(minor: i64) -> Payment {
    let charge = Charge {
        key: step("charge_payment"),
        fingerprint: Fingerprint::new([0xAB; 32]),
        order_id: OrderId::new(Uuid::from_u128(2)),
        customer_id: CustomerId::try_new("demo").unwrap(),
        amount: Money::new(minor, Currency::EUR),
        method: PaymentMethod::try_new("pm_ok").unwrap(),
        mode: Mode::Charge,
    };
    Payment::intended(PaymentId::new(Uuid::from_u128(3)), charge, AT)
}

fn life(payment: Payment, events: &[Event]) -> Payment {
    events.iter().fold(payment, |payment, event| evolve(&payment, event, AT).unwrap())
}

/// What is stored stays readable, and is written the same for ever: old documents outlive every version of this code.
fn check(golden: &str, record: &Record) {
    let written = serde_json::to_value(Document::from(record)).unwrap();
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, golden, "{}", serde_json::to_string_pretty(&written).unwrap());
    let read: Document = serde_json::from_value(golden).unwrap();
    assert_eq!(Record::try_from(read).unwrap(), *record);
}

#[test]
fn a_payment_with_everything_is_written_as_ever() {
    let (part, refused) = (RefundKey::Step(step("refund_payment")), RefundKey::Step(step("refund_more")));
    let undo = RefundKey::Undo(step("charge_payment"));
    let (fingerprint, amount) = (Some(Fingerprint::new([1; 32])), |minor| Money::new(minor, Currency::EUR));
    let asked = |key, asked, amount| Event::RefundAsked { key, fingerprint, asked, amount };
    let payment = life(
        pending(3700),
        &[
            Event::Captured { amount: amount(3700), receipt: Receipt::new("charge-1") },
            asked(part.clone(), Some(amount(700)), amount(700)),
            Event::RefundDone { key: part, receipt: Receipt::new("refund-1") },
            asked(refused.clone(), None, amount(3000)),
            Event::RefundRefused { key: refused },
            Event::BarrierClosed,
            Event::RefundAsked { key: undo, fingerprint: None, asked: None, amount: amount(3000) },
        ],
    );
    check(include_str!("../../../tests/golden/payment.v1.json"), &Record::Payment(payment));
}

#[test]
fn an_authorized_payment_is_written_as_ever() {
    let (refused, part) = (step("capture_all"), step("capture_payment"));
    let (fingerprint, amount) = (Fingerprint::new([1; 32]), |minor| Money::new(minor, Currency::EUR));
    let asked = |key, wanted| Event::SettlementAsked { key, fingerprint, wanted };
    let mut authorizing = pending(3700);
    authorizing.charge.mode = Mode::Authorize;
    let held = life(
        authorizing,
        &[
            Event::Authorized { amount: amount(3700), receipt: Receipt::new("authorization-1") },
            asked(refused.clone(), Wanted::Capture { asked: None, amount: amount(3700) }),
            Event::CaptureRefused { key: refused },
        ],
    );
    let capturing = Wanted::Capture { asked: Some(amount(700)), amount: amount(700) };
    let captured = life(
        held.clone(),
        &[asked(part, capturing), Event::Captured { amount: amount(700), receipt: Receipt::new("capture-1") }],
    );
    check(include_str!("../../../tests/golden/captured.v1.json"), &Record::Payment(captured));
    let voiding = life(held, &[asked(step("void_payment"), Wanted::Void)]);
    check(include_str!("../../../tests/golden/voiding.v1.json"), &Record::Payment(voiding.clone()));
    let voided = life(voiding, &[Event::Voided]);
    check(include_str!("../../../tests/golden/voided.v1.json"), &Record::Payment(voided));
}

#[test]
fn a_declined_payment_is_written_as_ever() {
    let declined = life(pending(5), &[Event::Declined { reason: DeclineReason::InsufficientFunds }]);
    check(include_str!("../../../tests/golden/declined.v1.json"), &Record::Payment(declined));
}

#[test]
fn a_tombstone_is_written_as_ever() {
    let tombstone = Record::Tombstone { key: step("charge_payment"), at: AT, id: PaymentId::new(Uuid::from_u128(3)) };
    check(include_str!("../../../tests/golden/tombstone.v1.json"), &tombstone);
}

#[test]
fn what_was_not_written_by_us_is_not_believed() {
    let captured = Event::Captured { amount: Money::new(5, Currency::EUR), receipt: Receipt::new("r") };
    let good = Document::from(&life(pending(5), &[captured]));
    let corrupt = |change: fn(&mut Document, &mut StateFields)| {
        let mut document = good.clone();
        let mut state = document.state.take().unwrap();
        change(&mut document, &mut state);
        document.state = Some(state);
        match Record::try_from(document) {
            Err(StoreError::Corrupt { what }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(corrupt(|document, _| document.step_key = "x".into()), "step_key");
    assert_eq!(corrupt(|document, _| document.payment_id = "x".into()), "payment_id");
    assert_eq!(corrupt(|document, _| document.asked = None), "payment");
    assert_eq!(corrupt(|_, state| state.status = "paid".into()), "status");
    assert_eq!(corrupt(|_, state| state.receipt = None), "receipt");
    assert_eq!(corrupt(|_, state| state.refunded_minor = 5), "refunded_minor");
    assert_eq!(corrupt(|_, state| state.status = "refunded".into()), "refunded_minor");
    assert_eq!(corrupt(|_, state| state.status = "declined".into()), "decline_reason");
    assert_eq!(corrupt(|_, state| state.status = "authorized".into()), "hold");
}

#[test]
fn an_event_and_its_delivery_are_written_as_ever() {
    use super::webhook::{DeliveryDocument, OutgoingDocument};
    use amends_webhooks::{delivery::Delivery, event::Outgoing, store::NewDelivery};
    let captured = Event::Captured { amount: Money::new(5, Currency::EUR), receipt: Receipt::new("r") };
    let event = crate::events::outgoing(&captured, &life(pending(5), std::slice::from_ref(&captured))).unwrap();
    let event = Outgoing { body: "{}".to_owned(), ..event };
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/golden/outgoing.v1.json")).unwrap();
    assert_eq!(serde_json::to_value(OutgoingDocument::from(&event)).unwrap(), golden);
    let read: OutgoingDocument = serde_json::from_value(golden).unwrap();
    assert_eq!(read.read(&event.payment_id.unwrap().to_string(), &event.order_id.to_string()).unwrap(), event);

    let mut delivery = DeliveryDocument::try_from(&NewDelivery { event: &event, endpoint: "shop", at: AT }).unwrap();
    delivery.attempted_at = Some(AT.as_micros());
    delivery.answer = Some("status 410".to_owned());
    delivery.done_at = Some(AT.as_micros());
    delivery.state = "dead".to_owned();
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/golden/delivery.v1.json")).unwrap();
    assert_eq!(serde_json::to_value(&delivery).unwrap(), golden);
    let read: DeliveryDocument = serde_json::from_value(golden).unwrap();
    assert_eq!(Delivery::try_from(read).unwrap().id(), delivery.id);
}
