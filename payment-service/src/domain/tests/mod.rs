//! The rules, without anything that waits: the table of transitions, and random lives of payments.

use amends_primitives::{Currency, Money, OrderId, PaymentId, SagaId, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

mod authorizations;
mod refunds;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn step(name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(1)), name).unwrap()
}

fn charge(minor: i64) -> Charge {
    Charge {
        key: step("charge"),
        fingerprint: Fingerprint::new([1; 32]),
        order_id: OrderId::new(Uuid::from_u128(2)),
        customer_id: CustomerId::try_new("demo").unwrap(),
        amount: eur(minor),
        method: PaymentMethod::try_new("pm_ok").unwrap(),
        mode: Mode::Charge,
    }
}

fn pending(minor: i64) -> Payment {
    Payment::intended(PaymentId::new(Uuid::from_u128(3)), charge(minor), NOW)
}

fn captured_event(minor: i64) -> Event {
    Event::Captured { amount: eur(minor), receipt: Receipt::new("r") }
}

fn asked_event(name: &str, minor: i64) -> Event {
    let key = RefundKey::Step(step(name));
    Event::RefundAsked { key, fingerprint: None, asked: Some(eur(minor)), amount: eur(minor) }
}

fn done_event(name: &str) -> Event {
    Event::RefundDone { key: RefundKey::Step(step(name)), receipt: Receipt::new("r") }
}

/// A payment of 100 in that state, with a refund `open` in progress where there may be one.
fn payment_in(status: Status) -> Payment {
    let events = match status {
        Status::Pending => vec![],
        Status::Authorized => return authorizations::authorized(100),
        Status::Declined => vec![Event::Declined { reason: DeclineReason::Declined }],
        Status::Voided => vec![Event::Voided],
        Status::Captured => vec![captured_event(100), asked_event("open", 10)],
        Status::PartiallyRefunded => {
            vec![captured_event(100), asked_event("a", 10), done_event("a"), asked_event("open", 10)]
        }
        Status::Refunded => vec![captured_event(100), asked_event("a", 100), done_event("a")],
    };
    let payment = events.iter().fold(pending(100), |payment, event| evolve(&payment, event, NOW).unwrap());
    assert_eq!(payment.status(), status);
    payment
}

#[test]
fn only_the_transitions_of_the_table_exist() {
    use Status::{Authorized, Captured, Declined, PartiallyRefunded, Pending, Refunded, Voided};
    let events = [
        captured_event(100),
        Event::Declined { reason: DeclineReason::Declined },
        Event::Voided,
        done_event("open"),
        Event::RefundRefused { key: RefundKey::Step(step("open")) },
        asked_event("new", 90),
        authorizations::authorized_event(100),
        authorizations::capturing("capture", 60),
        authorizations::voiding("void"),
        Event::CaptureRefused { key: step("capture") },
    ];
    let nothing = [None; 10];
    let starting = |some: [Option<Status>; 6]| {
        let mut all = nothing;
        all[..6].copy_from_slice(&some);
        all
    };
    let mut of_a_hold = starting([Some(Captured), None, Some(Voided), None, None, None]);
    of_a_hold[7..9].fill(Some(Authorized));
    for (from, expected) in [
        (Pending, starting([Some(Captured), Some(Declined), Some(Voided), None, None, None])),
        (Authorized, of_a_hold),
        (Captured, starting([None, None, None, Some(PartiallyRefunded), Some(Captured), Some(Captured)])),
        (PartiallyRefunded, starting([None, None, None, Some(PartiallyRefunded), Some(PartiallyRefunded), None])),
        (Refunded, nothing),
        (Declined, nothing),
        (Voided, nothing),
    ] {
        for (event, expected) in events.iter().zip(expected) {
            let next = evolve(&payment_in(from), event, NOW);
            assert_eq!(next.as_ref().ok().map(Payment::status), expected, "{from:?} {event:?}");
            if let Err(illegal) = next {
                let message = illegal.to_string();
                assert!(message.contains(&format!("is {}", from.name())), "{message}");
                assert!(message.contains("cannot become"), "{message}");
            }
        }
        let closed = evolve(&payment_in(from), &Event::BarrierClosed, NOW).unwrap();
        assert_eq!((closed.status(), closed.version), (from, payment_in(from).version + 1));
        assert!(evolve(&closed, &Event::BarrierClosed, NOW).is_err());
    }
}

#[test]
fn an_illegal_transition_names_both_states() {
    let illegal = evolve(&payment_in(Status::Declined), &captured_event(100), NOW).unwrap_err();
    assert_eq!(
        illegal.to_string(),
        "payment 00000000-0000-0000-0000-000000000003 is declined: it cannot become captured"
    );
}

#[test]
fn refunds_are_not_begun_beyond_what_the_record_can_hold() {
    let mut payment = evolve(&pending(1000), &captured_event(1000), NOW).unwrap();
    let ask = |number: usize| RefundAsked {
        key: step(&format!("refund-{number}")),
        fingerprint: Fingerprint::new([2; 32]),
        payment_id: PaymentId::new(Uuid::from_u128(3)),
        amount: Some(eur(1)),
    };
    for number in 0..REFUNDS_PER_PAYMENT_MAX {
        let Next::Record(event) = decide_refund(&payment, &ask(number)).unwrap() else { panic!("{number}") };
        payment = evolve(&payment, &event, NOW).unwrap();
    }
    let refused = decide_refund(&payment, &ask(REFUNDS_PER_PAYMENT_MAX));
    assert_eq!(refused, Err(Rejection::TooManyRefunds(payment.id)));
    assert!(matches!(decide_refund(&payment, &ask(0)), Ok(Next::AskRefund(_))), "a repeat is none too many");
}

/// One thing that happens in the life of a payment.
#[derive(Debug, Clone)]
enum Happens {
    /// A charge, and what the processor answers if it is asked.
    Charge(u8),
    /// A refund under one of a few keys, of some amount or of all that is left, and what the processor answers.
    Refund { key: u8, minor: Option<i64>, answered: u8 },
    /// One move of a compensation, and what the processor answers if it is asked.
    Compensate(u8),
}

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        3 => any::<u8>().prop_map(Happens::Charge),
        6 => (0..6_u8, prop::option::of(1..120_i64), any::<u8>())
            .prop_map(|(key, minor, answered)| Happens::Refund { key, minor, answered }),
        1 => any::<u8>().prop_map(Happens::Compensate),
    ];
    prop::collection::vec(one, 0..40)
}

/// What the processor says of a charge: one answer for good, by the life's `fate`, or none this time.
fn processor_says(fate: u8, answered: u8, voiding: bool) -> Option<Event> {
    match (answered % 3, fate % 3) {
        (0, _) => None,
        (_, 0) => Some(captured_event(100)),
        (_, 1) => Some(Event::Declined { reason: DeclineReason::InsufficientFunds }),
        _ => voiding.then_some(Event::Voided).or_else(|| Some(captured_event(100))),
    }
}

fn assert_sound(payment: &Payment, before: &Payment) {
    assert_eq!(payment.version, before.version + 1);
    assert!(payment.captured().amount_minor() <= payment.charge.amount.amount_minor());
    assert!(payment.refunded().amount_minor() <= payment.captured().amount_minor());
    assert!(payment.refunded().amount_minor() >= before.refunded().amount_minor(), "money does not come back");
    if let Some(capture) = payment.state.capture() {
        assert!(capture.left().amount_minor() >= 0);
        assert_eq!(State::from(capture.clone()), payment.state, "the state follows from the refunds");
    }
    if let Barrier::Closed { .. } = before.barrier {
        assert_eq!(payment.barrier, before.barrier, "a closed barrier stays closed");
    }
}

/// One move of a compensation. `None` when it is over.
fn compensate_once(payment: &Payment, fate: u8, answered: u8) -> Option<Payment> {
    let event = match decide_compensation(&Record::Payment(payment.clone()), false) {
        CompensationNext::Answer(..) => return None,
        CompensationNext::Record(event) => Some(event),
        CompensationNext::Void(_) => processor_says(fate, answered, true),
        CompensationNext::AskRefund(_, refund) => refund_answer(&refund, answered),
    };
    // Whatever was decided can be done.
    Some(event.map_or_else(|| payment.clone(), |event| evolve(payment, &event, NOW).unwrap()))
}

fn refund_answer(refund: &Refund, answered: u8) -> Option<Event> {
    let key = refund.key.clone();
    match answered % 4 {
        0 => None,
        1 if !matches!(key, RefundKey::Undo(_)) => Some(Event::RefundRefused { key }),
        _ => Some(Event::RefundDone { key, receipt: Receipt::new("r") }),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_money_adds_up_and_can_be_given_back(life in happenings(), fate: u8) {
        let mut payment = pending(100);
        for happens in life {
            let before = payment.clone();
            let next = match happens {
                Happens::Charge(answered) => match decide_charge(&Record::Payment(payment.clone()), &charge(100)) {
                    Ok(ChargeNext::AskProcessor(asked)) => {
                        prop_assert_eq!(asked.barrier, Barrier::Open);
                        processor_says(fate, answered, false).map(|event| evolve(&payment, &event, NOW).unwrap())
                    }
                    Ok(ChargeNext::Answer(answer)) => {
                        prop_assert_eq!(answer.status(), Status::Captured);
                        None
                    }
                    Err(_) => None,
                },
                Happens::Refund { key, minor, answered } => {
                    let asked = RefundAsked {
                        key: step(&format!("refund-{key}")),
                        fingerprint: Fingerprint::new([key; 32]),
                        payment_id: payment.id,
                        amount: minor.map(eur),
                    };
                    match decide_refund(&payment, &asked) {
                        Ok(Next::Record(event)) => {
                            prop_assert_eq!(payment.barrier, Barrier::Open);
                            Some(evolve(&payment, &event, NOW).unwrap())
                        }
                        Ok(Next::AskRefund(refund)) => {
                            refund_answer(&refund, answered).map(|event| evolve(&payment, &event, NOW).unwrap())
                        }
                        Ok(Next::Answer(answer)) => {
                            prop_assert!(answer.refunded().amount_minor() > 0);
                            None
                        }
                        Ok(Next::AskSettlement(settlement)) => panic!("{settlement:?}"),
                        Err(_) => None,
                    }
                }
                Happens::Compensate(answered) => compensate_once(&payment, fate, answered).filter(|next| *next != before),
            };
            if let Some(next) = next {
                assert_sound(&next, &before);
                payment = next;
            }
        }
        // Whatever has happened, a compensation that is answered ends, soon, with nothing taken.
        let mut moves = 0;
        while let Some(next) = compensate_once(&payment, fate, 2) {
            payment = next;
            moves += 1;
            prop_assert!(moves <= 2 + 6 + 3, "{payment:?}");
        }
        prop_assert_eq!(payment.captured(), payment.refunded());
        prop_assert!(decide_charge(&Record::Payment(payment.clone()), &charge(100)).is_err());
        let refund = RefundAsked {
            key: step("late"),
            fingerprint: Fingerprint::new([9; 32]),
            payment_id: payment.id,
            amount: None,
        };
        prop_assert!(decide_refund(&payment, &refund).is_err());
    }
}
