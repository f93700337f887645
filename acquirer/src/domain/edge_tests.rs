//! The rules at their edges: the last value that is let through, and the first that is not.

use amends_primitives::Money;

use super::{
    tests::{RULES, after, capture, charge, eur, hold, key, refund},
    *,
};

#[test]
fn a_flaky_method_fails_as_often_as_configured() {
    let ask = charge(7, "pm_flaky");
    for failures in 0..4 {
        let rules = Rules { flaky_failures: failures, ..RULES };
        let mut entry = Entry::opened(&ask, &rules);
        for failed in 0..failures {
            assert_eq!((entry.answer(&ask), entry.version), (Charged::Failed, i64::from(failed) + 1));
            assert_eq!((entry.taken_minor(), entry.held_minor()), (0, 0));
            entry = entry.asked_again(&ask, &rules).unwrap();
        }
        assert_eq!(entry.taken_minor(), 7, "after {failures} failures");
        assert_eq!(entry.asked_again(&ask, &rules), None);
    }
}

#[test]
fn a_capture_takes_at_most_what_is_held() {
    let held = Entry::opened(&hold(500, "pm_ok"), &RULES);
    for (minor, done) in [(-1, false), (0, false), (1, true), (500, true), (501, false)] {
        let (answer, next) = held.capture(&capture("k", minor));
        assert_eq!((answer != Captured::Refused, next.is_some()), (done, done), "{minor}");
    }
    let dollars = CaptureAsk { amount: Money::new(1, amends_primitives::Currency::USD), ..capture("k", 1) };
    assert_eq!(held.capture(&dollars), (Captured::Refused, None));
    let captured = after(held.capture(&capture("k", 300)));
    let done = Captured::Done { amount: eur(300), receipt: "sim-capture-c".into() };
    assert_eq!(captured.capture(&capture("k", 300)), (done, None), "a repeat is answered as it was");
    assert_eq!(captured.capture(&capture("l", 1)), (Captured::Refused, None), "the rest is released");
    assert_eq!((captured.taken_minor(), captured.held_minor()), (300, 0));
}

#[test]
fn what_is_not_held_cannot_be_captured() {
    for ask in
        [charge(500, "pm_ok"), charge(500, "pm_flaky"), hold(500, "pm_declined"), hold(500, "pm_capture_refused")]
    {
        assert_eq!(Entry::opened(&ask, &RULES).capture(&capture("k", 1)), (Captured::Refused, None), "{ask:?}");
    }
}

#[test]
fn only_one_method_hangs_and_only_at_its_capture() {
    for method in ["pm_ok", "pm_capture_timeout", "pm_capture_refused"] {
        let held = Entry::opened(&hold(500, method), &RULES);
        assert!(!held.hangs_at_capture(), "{method}");
        if let (_, Some(captured)) = held.capture(&capture("k", 500)) {
            assert_eq!(captured.hangs_at_capture(), method == "pm_capture_timeout");
        }
    }
    assert_eq!(Entry::opened(&charge(500, "pm_capture_timeout"), &RULES).taken_minor(), 0);
}

#[test]
fn voiding_releases_what_is_held_and_ends_what_fails() {
    for ask in [hold(500, "pm_ok"), charge(500, "pm_flaky")] {
        let voided = Entry::opened(&ask, &RULES).void();
        assert_eq!(voided.0, Voided::Done);
        let voided = after(voided);
        assert_eq!((voided.held_minor(), voided.taken_minor(), voided.asked()), (0, 0, None));
        assert_eq!((voided.answer(&ask), voided.version), (Charged::KeyVoided, 2));
        assert_eq!(voided.void(), (Voided::Done, None));
        assert_eq!(voided.asked_again(&ask, &RULES), None);
    }
}

#[test]
fn a_charge_takes_a_bounded_number_of_refunds() {
    let mut entry = Entry::opened(&charge(50_000, "pm_ok"), &RULES);
    for number in 0..REFUNDS_PER_CHARGE_MAX {
        entry = after(entry.refund(&refund(&format!("r{number}"), 1)));
    }
    assert_eq!(entry.refund(&refund("one-more", 1)), (Refunded::Refused, None));
    let movements = entry.movements();
    assert_eq!(movements.len(), REFUNDS_PER_CHARGE_MAX + 1);
    assert_eq!((entry.given_back_minor(), entry.taken_minor()), (1_000, 50_000));
}

#[test]
fn a_statement_line_has_every_movement_in_order() {
    let told = |entry: &Entry| -> Vec<String> {
        let line = |m: &Movement| {
            format!("{} {} of {} by {}: {}", m.kind.name(), m.key, m.charge, m.receipt, m.amount.amount_minor())
        };
        entry.movements().iter().map(line).collect()
    };
    let held = Entry::opened(&hold(500, "pm_ok"), &RULES);
    assert_eq!(told(&held), [""; 0]);
    let captured = after(held.capture(&capture("k", 300)));
    let both = after(after(captured.refund(&refund("r", 100))).refund(&refund("s", 200)));
    let expected = [
        "capture k of c by sim-capture-c: 300",
        "refund r of c by sim-refund-r: 100",
        "refund s of c by sim-refund-s: 200",
    ];
    assert_eq!(told(&both), expected);
    assert_eq!(told(&Entry::opened(&charge(7, "pm_ok"), &RULES)), ["capture c of c by sim-charge-c: 7"]);
}

#[test]
fn codes_and_names_are_read_back() {
    let codes = ["declined", "insufficient_funds", "amount_limit_exceeded"];
    assert_eq!(Decline::ALL.map(Decline::code), codes);
    assert_eq!(codes.map(Decline::from_name), Decline::ALL.map(Some));
    let kinds = [MovementKind::Capture, MovementKind::Refund];
    assert_eq!(kinds.map(MovementKind::name), ["capture", "refund"]);
    assert_eq!(kinds.map(|kind| MovementKind::from_name(kind.name())), kinds.map(Some));
    assert_eq!((Decline::from_name("lost"), MovementKind::from_name("lost")), (None, None));
}

#[test]
fn the_longest_texts_are_let_through() {
    for (length, fits) in [(KEY_LEN_MAX, true), (KEY_LEN_MAX + 1, false)] {
        assert_eq!(Key::try_new(&"k".repeat(length)).is_ok(), fits);
    }
    for (length, fits) in [(METHOD_LEN_MAX, true), (METHOD_LEN_MAX + 1, false)] {
        assert_eq!(Method::try_new(&"m".repeat(length)).is_ok(), fits);
    }
    let method = Method::try_new("pm-ok_1").unwrap();
    assert_eq!((method.as_str(), key("k/1").as_str(), method.to_string()), ("pm-ok_1", "k/1", "pm-ok_1".to_owned()));
}

#[test]
fn a_line_tells_what_was_asked_for() {
    for (ask, hold) in [(charge(7, "pm_ok"), false), (hold(7, "pm_ok"), true), (charge(7, "pm_declined"), false)] {
        let asked = Asked { hold, amount: eur(7), method: ask.method.clone() };
        assert_eq!(Entry::opened(&ask, &RULES).asked(), Some(&asked));
        let declined = Entry::declined(&ask);
        assert_eq!((declined.asked(), declined.answer(&ask)), (Some(&asked), Charged::Declined(Decline::Declined)));
    }
}
