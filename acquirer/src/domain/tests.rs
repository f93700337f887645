//! The rules, as a merchant would try them.

use std::time::Duration;

use amends_primitives::{Currency, Money};

use super::*;

pub(super) const RULES: Rules = Rules { amount_limit_minor: 100_000, hang: Duration::ZERO, flaky_failures: 1 };

pub(super) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

pub(super) fn key(text: &str) -> Key {
    Key::try_new(text).unwrap()
}

pub(super) fn charge(minor: i64, method: &str) -> ChargeAsk {
    ChargeAsk { key: key("c"), hold: false, amount: eur(minor), method: Method::try_new(method).unwrap() }
}

pub(super) fn hold(minor: i64, method: &str) -> ChargeAsk {
    ChargeAsk { hold: true, ..charge(minor, method) }
}

pub(super) fn refund(name: &str, minor: i64) -> RefundAsk {
    RefundAsk { key: key(name), charge: key("c"), amount: eur(minor) }
}

pub(super) fn capture(name: &str, minor: i64) -> CaptureAsk {
    CaptureAsk { key: key(name), authorization: key("c"), amount: eur(minor) }
}

/// The line after `change`, which must be one.
pub(super) fn after<T>((_, next): (T, Option<Entry>)) -> Entry {
    next.unwrap()
}

#[test]
fn each_payment_method_does_what_the_table_says() {
    for (ask, granted) in [
        (charge(99_999, "pm_ok"), Ok(())),
        (charge(100_000, "pm_ok"), Err(Charged::Declined(Decline::AmountLimitExceeded))),
        (charge(1, "pm_declined"), Err(Charged::Declined(Decline::Declined))),
        (charge(1, "pm_insufficient_funds"), Err(Charged::Declined(Decline::InsufficientFunds))),
        (charge(1, "pm_timeout"), Ok(())),
        (charge(1, "pm_flaky"), Err(Charged::Failed)),
        (charge(1, "pm_capture_refused"), Err(Charged::Declined(Decline::Declined))),
        (hold(1, "pm_capture_refused"), Ok(())),
        (charge(1, "pm_nobody"), Err(Charged::Declined(Decline::Declined))),
    ] {
        let entry = Entry::opened(&ask, &RULES);
        let expected = granted.err().unwrap_or_else(|| Charged::Granted {
            amount: ask.amount,
            receipt: format!("sim-{}-c", if ask.hold { "authorization" } else { "charge" }),
        });
        assert_eq!(entry.answer(&ask), expected, "{ask:?}");
    }
}

#[test]
fn a_key_belongs_to_one_request() {
    for opened in [charge(500, "pm_ok"), hold(500, "pm_ok"), charge(500, "pm_declined"), charge(500, "pm_flaky")] {
        let entry = Entry::opened(&opened, &RULES);
        for other in [charge(501, "pm_ok"), hold(501, "pm_ok"), charge(500, "pm_nobody")] {
            assert_eq!(entry.answer(&other), Charged::KeyReused, "{opened:?}, then {other:?}");
            assert_eq!(entry.asked_again(&other, &RULES), None);
        }
    }
    let captured = after(Entry::opened(&hold(500, "pm_ok"), &RULES).capture(&capture("k", 300)));
    assert_eq!(captured.capture(&capture("k", 301)), (Captured::KeyReused, None));
    let refunded = after(captured.refund(&refund("r", 100)));
    assert_eq!(refunded.refund(&refund("r", 101)), (Refunded::KeyReused, None));
}

#[test]
fn what_is_given_back_never_exceeds_what_was_taken() {
    let taken = Entry::opened(&charge(500, "pm_ok"), &RULES);
    assert_eq!(taken.refund(&refund("r", 501)), (Refunded::Refused, None));
    assert_eq!(taken.refund(&refund("r", 0)), (Refunded::Refused, None));
    let dollars = RefundAsk { amount: Money::new(1, Currency::USD), ..refund("r", 1) };
    assert_eq!(taken.refund(&dollars), (Refunded::Refused, None));
    let half = after(taken.refund(&refund("r", 300)));
    assert_eq!(half.refund(&refund("s", 201)), (Refunded::Refused, None));
    let all = after(half.refund(&refund("s", 200)));
    assert_eq!((all.taken_minor(), all.given_back_minor(), all.version), (500, 500, 3));
    let again = Refunded::Done { receipt: "sim-refund-r".into() };
    assert_eq!(all.refund(&refund("r", 300)), (again, None), "a repeat is answered as it was");
}

#[test]
fn a_voided_key_stays_void_and_a_charged_one_says_so() {
    let voided = Entry::voided(key("c"));
    assert_eq!(voided.answer(&charge(1, "pm_ok")), Charged::KeyVoided);
    assert_eq!(voided.capture(&capture("k", 1)), (Captured::KeyVoided, None));
    assert_eq!(voided.refund(&refund("r", 1)), (Refunded::Refused, None));
    let held = Entry::opened(&hold(500, "pm_ok"), &RULES);
    assert_eq!((held.held_minor(), after(held.void()).held_minor()), (500, 0));
    let (answer, next) = Entry::opened(&charge(500, "pm_ok"), &RULES).void();
    let taken = Voided::WasCaptured { amount: eur(500), receipt: "sim-charge-c".into() };
    assert_eq!((answer, next), (taken, None));
    let (answer, _) = after(held.capture(&capture("k", 300))).void();
    assert_eq!(answer, Voided::WasCaptured { amount: eur(300), receipt: "sim-capture-c".into() });
    let declined = Entry::opened(&charge(1, "pm_declined"), &RULES);
    assert_eq!(declined.void(), (Voided::WasDeclined(Decline::Declined), None));
}

#[test]
fn each_movement_of_money_is_posted_once_and_nothing_else_is() {
    let post = |entry: &Entry| entry.newest_movement().map(|m| (m.kind, m.key.to_string(), m.amount.amount_minor()));
    let held = Entry::opened(&hold(500, "pm_ok"), &RULES);
    let captured = after(held.capture(&capture("k", 300)));
    let refunded = after(captured.refund(&refund("r", 100)));
    let (to_us, back) = (MovementKind::Capture, MovementKind::Refund);
    assert_eq!(post(&held), None);
    assert_eq!(post(&captured), Some((to_us, "k".into(), 300)));
    assert_eq!(post(&refunded), Some((back, "r".into(), 100)));
    assert_eq!(post(&Entry::opened(&charge(7, "pm_ok"), &RULES)), Some((to_us, "c".into(), 7)));
    for still in [Entry::voided(key("c")), Entry::opened(&charge(7, "pm_declined"), &RULES)] {
        assert_eq!(post(&still), None);
    }
    let flaky = charge(7, "pm_flaky");
    let failing = Entry::opened(&flaky, &RULES);
    assert_eq!(post(&failing), None);
    assert_eq!(post(&failing.asked_again(&flaky, &RULES).unwrap()), Some((to_us, "c".into(), 7)));
}

#[test]
fn texts_are_checked_at_the_edge() {
    assert!(Key::try_new("undo:0198c0de-0000-7000-8000-000000000001/charge_payment").is_ok());
    for bad in ["", "a b", "a\nb", "é", &"k".repeat(256)] {
        assert_eq!(Key::try_new(bad), Err(InvalidValue::Key), "{bad}");
    }
    assert!(Method::try_new("pm_ok-1").is_ok());
    for bad in ["", "pm ok", "4111 1111", &"m".repeat(65)] {
        assert_eq!(Method::try_new(bad), Err(InvalidValue::Method), "{bad}");
    }
}
