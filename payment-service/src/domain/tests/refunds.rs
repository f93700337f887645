//! The rules of refunds: what is refused at each limit, and what a repeat is answered with.

use std::time::Duration;

use super::*;

fn at(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

fn after(payment: Payment, events: &[(u64, Event)]) -> Payment {
    events.iter().fold(payment, |payment, (seconds, event)| evolve(&payment, event, at(*seconds)).unwrap())
}

fn captured() -> Payment {
    after(pending(100), &[(1, captured_event(100))])
}

fn asked(name: &str, amount: Option<Money>) -> RefundAsked {
    let (key, fingerprint, payment_id) = (step(name), Fingerprint::new([2; 32]), PaymentId::new(Uuid::from_u128(3)));
    RefundAsked { key, fingerprint, payment_id, amount }
}

fn begun(payment: &Payment, asked: &RefundAsked) -> Payment {
    let Ok(Next::Record(event)) = decide_refund(payment, asked) else { panic!("{asked:?} is not begun") };
    evolve(payment, &event, NOW).unwrap()
}

#[test]
fn a_repeat_is_answered_as_of_the_time_of_its_effect() {
    let payment = captured();
    assert_eq!((payment.created_at, payment.updated_at), (NOW, at(1)));
    let payment = after(payment, &[(2, asked_event("a", 10)), (3, done_event("a"))]);
    let payment = after(payment, &[(4, asked_event("b", 30)), (5, done_event("b")), (6, asked_event("c", 60))]);
    assert_eq!((payment.refunded(), payment.updated_at), (eur(40), at(6)));
    let told = |answer: Payment| (answer.status(), answer.refunded(), answer.updated_at);
    assert_eq!(told(payment.as_captured()), (Status::Captured, eur(0), at(1)));
    let of = |name: &str| told(payment.as_refunded_by(&RefundKey::Step(step(name))));
    assert_eq!(of("a"), (Status::PartiallyRefunded, eur(10), at(3)));
    assert_eq!(of("b"), (Status::PartiallyRefunded, eur(40), at(5)));
    assert_eq!(of("c"), told(payment.clone()), "it is not done yet");
}

#[test]
fn no_more_is_refunded_than_is_left() {
    let payment = begun(&captured(), &asked("a", Some(eur(40))));
    let refused = |amount, left| Err(Rejection::RefundExceedsCaptured { asked: eur(amount), left: eur(left) });
    assert_eq!(decide_refund(&payment, &asked("b", Some(eur(61)))), refused(61, 60));
    let all = begun(&payment, &asked("b", None));
    assert_eq!(all.state.capture().map(Capture::left), Some(eur(0)), "none is all that is left");
    begun(&payment, &asked("b", Some(eur(60))));
    assert_eq!(decide_refund(&all, &asked("c", Some(eur(1)))), refused(1, 0));
    let (id, from, to) = (all.id, Status::Captured, Status::Refunded);
    assert_eq!(decide_refund(&all, &asked("c", None)), Err(Rejection::IllegalState { id, from, to }));
    for minor in [0, -1, 61] {
        assert!(evolve(&payment, &asked_event("b", minor), NOW).is_err(), "{minor}");
    }
    let dollars = Money::new(1, Currency::USD);
    let other = Err(Rejection::OtherCurrency { asked: dollars, payment: eur(100) });
    assert_eq!(decide_refund(&payment, &asked("b", Some(dollars))), other);
}

#[test]
fn the_key_of_a_refund_names_one_request() {
    let payment = begun(&captured(), &asked("a", Some(eur(40))));
    let reused = |name| Err(Rejection::StepKeyReused(step(name)));
    assert_eq!(decide_refund(&payment, &asked("charge", Some(eur(1)))), reused("charge"));
    assert_eq!(decide_refund(&payment, &asked("a", Some(eur(41)))), reused("a"));
    let other = RefundAsked { fingerprint: Fingerprint::new([3; 32]), ..asked("a", Some(eur(40))) };
    assert_eq!(decide_refund(&payment, &other), reused("a"));
    assert!(matches!(decide_refund(&payment, &asked("a", Some(eur(40)))), Ok(Next::AskRefund(_))));
    let refused = evolve(&payment, &Event::RefundRefused { key: RefundKey::Step(step("a")) }, NOW).unwrap();
    let again = decide_refund(&refused, &asked("a", Some(eur(40))));
    assert_eq!(again, Err(Rejection::RefundRefused(payment.id)));
    assert!(evolve(&refused, &done_event("a"), NOW).is_err(), "a refund ends once");
    assert!(evolve(&payment, &asked_event("a", 1), NOW).is_err(), "one key has one refund");
}

#[test]
fn after_a_compensation_no_refund_begins() {
    let closed = after(captured(), &[(2, Event::BarrierClosed)]);
    let (id, from, to) = (closed.id, Status::Captured, Status::Refunded);
    for amount in [None, Some(eur(1)), Some(eur(100))] {
        let next = decide_refund(&closed, &asked("a", amount));
        assert_eq!(next, Err(Rejection::IllegalState { id, from, to }));
    }
}

#[test]
fn a_compensation_says_which_call_gave_the_money_back() {
    let closed = |status| Record::Payment(evolve(&payment_in(status), &Event::BarrierClosed, NOW).unwrap());
    let found = |record: &Record, now| match decide_compensation(record, now) {
        CompensationNext::Answer(found, _) => found,
        other => panic!("{other:?}"),
    };
    let refunded = closed(Status::Refunded);
    assert_eq!([found(&refunded, true), found(&refunded, false)], [Compensated::Undone, Compensated::AlreadyUndone]);
    let tombstone = Record::Tombstone { key: step("charge"), at: NOW, id: PaymentId::new(Uuid::from_u128(3)) };
    for nothing in [closed(Status::Declined), closed(Status::Voided), tombstone] {
        assert_eq!(*nothing.key(), step("charge"));
        assert_eq!([found(&nothing, true), found(&nothing, false)], [Compensated::NothingToUndo; 2]);
    }
    let CompensationNext::AskRefund(_, first) = decide_compensation(&closed(Status::Captured), false) else { panic!() };
    assert_eq!(first.key, RefundKey::Step(step("open")), "what had begun is asked about first");
}

#[test]
fn every_name_is_read_back_and_no_other_is() {
    for status in Status::ALL {
        assert_eq!(Status::from_name(status.name()), Some(status));
    }
    for reason in DeclineReason::ALL {
        assert_eq!(DeclineReason::from_name(reason.name()), Some(reason));
    }
    assert_eq!((Status::from_name("lost"), DeclineReason::from_name("lost")), (None, None));
}

#[test]
fn a_declined_customer_is_told_why() {
    let declined = |reason| evolve(&pending(100), &Event::Declined { reason }, NOW).unwrap();
    let told = DeclineReason::ALL.map(|reason| {
        let refused = decide_charge(&Record::Payment(declined(reason)), &charge(100)).unwrap_err();
        (reason.name(), refused.to_string())
    });
    let sentences = [
        ("declined", "the payment was declined"),
        ("insufficient_funds", "the payment was declined: insufficient funds"),
        ("amount_limit_exceeded", "the payment was declined: the amount exceeds the limit"),
    ];
    assert_eq!(told, sentences.map(|(name, sentence)| (name, sentence.to_owned())));
}
