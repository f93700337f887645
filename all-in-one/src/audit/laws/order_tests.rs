//! Orders against the books of the other services, one lie at a time: each breaks the law that is about it, and no other.

use std::time::Duration;

use amends_primitives::Timestamp;
use inventory_service::audit::{AuditLine as AuditReserved, AuditReservation, AuditStep};
use order_service::audit::{AuditLine, AuditOrder};
use payment_service::audit::{AuditPayment, AuditRefund, AuditRefundState};

use super::{Found, Law, goods, money, orders, orders::Standing, payments};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Two teas for 7.00 EUR.
fn order(status: &str) -> AuditOrder {
    AuditOrder {
        id: "o".into(),
        customer: "ann".into(),
        status: status.into(),
        version: 1,
        total_minor: 700,
        currency: "EUR".into(),
        payment: Some("p".into()),
        reservation: Some("r".into()),
        place_saga: "s".into(),
        cancel_saga: None,
        saga_status: None,
        saga_updated_at: None,
        settled_at: None,
        updated_at: NOW,
        lines: vec![AuditLine { sku: "tea".into(), quantity: 2, unit_price_minor: 350 }],
    }
}

fn payment(status: &str, captured: i64, refunded: i64) -> AuditPayment {
    AuditPayment {
        key: "s/charge_payment".into(),
        id: "p".into(),
        order: "o".into(),
        customer: "ann".into(),
        amount_minor: 700,
        currency: "EUR".into(),
        status: status.into(),
        captured_minor: captured,
        refunded_minor: refunded,
        closed: true,
        ..AuditPayment::default()
    }
}

fn paid() -> AuditPayment {
    payment("captured", 700, 0)
}

fn reservation(state: &str) -> AuditReservation {
    let line = AuditReserved { sku: "tea".into(), quantity: 2, unit_price_minor: 350, currency: "EUR".into() };
    AuditReservation { id: "r".into(), order: "o".into(), state: state.into(), lines: vec![line] }
}

fn laws(found: impl IntoIterator<Item = Found>) -> Vec<Law> {
    found.into_iter().map(|found| found.law).collect()
}

fn of_money(order: &AuditOrder, payments: &[AuditPayment]) -> Vec<Law> {
    laws(money::check(order, Standing::of(order).unwrap(), payments))
}

fn of_goods(order: &AuditOrder, reservations: &[AuditReservation]) -> Vec<Law> {
    laws(goods::check(order, Standing::of(order).unwrap(), reservations))
}

#[test]
fn a_confirmed_order_is_paid_once_and_in_full() {
    let confirmed = order("confirmed");
    assert_eq!(of_money(&confirmed, &[paid()]), []);
    assert_eq!(of_money(&confirmed, &[paid(), payment("declined", 0, 0)]), [], "what moved nothing is nothing");
    assert_eq!(of_money(&confirmed, &[]), [Law::NotCharged]);
    assert_eq!(of_money(&confirmed, &[payment("refunded", 700, 700)]), [Law::NotCharged]);
    let twice = [paid(), AuditPayment { id: "q".into(), ..paid() }];
    assert_eq!(of_money(&confirmed, &twice), [Law::ChargedTwice]);
    let found = money::check(&confirmed, Standing::Confirmed, &twice);
    assert_eq!(found.into_iter().map(|found| found.detail).collect::<Vec<_>>(), ["paid more than once: payments p, q"]);
    for (captured, refunded) in [(699, 0), (701, 0), (700, 1)] {
        assert_eq!(of_money(&confirmed, &[payment("captured", captured, refunded)]), [Law::WrongAmount]);
    }
    let dollars = AuditPayment { currency: "USD".into(), ..paid() };
    assert_eq!(of_money(&confirmed, &[dollars]), [Law::WrongCurrency]);
    let of_bob = AuditPayment { customer: "bob".into(), ..paid() };
    assert_eq!(of_money(&confirmed, &[of_bob]), [Law::PaymentOfOtherCustomer]);
    for named in [None, Some("q".to_owned())] {
        assert_eq!(
            of_money(&AuditOrder { payment: named, ..order("confirmed") }, &[paid()]),
            [Law::OrderNamesOtherPayment]
        );
    }
    let of_other_step = AuditPayment { key: "t/charge_payment".into(), ..paid() };
    assert_eq!(of_money(&confirmed, &[of_other_step]), [Law::OrderNamesOtherPayment]);
}

#[test]
fn a_settled_order_has_no_payment_in_doubt() {
    for status in ["pending", "authorized"] {
        assert_eq!(of_money(&order("confirmed"), &[paid(), payment(status, 0, 0)]), [Law::PaymentUndecided]);
        assert_eq!(of_money(&order("failed"), &[payment(status, 0, 0)]), [Law::PaymentUndecided]);
        assert_eq!(of_money(&order("pending"), &[payment(status, 0, 0)]), []);
    }
}

#[test]
fn on_the_way_a_charge_takes_the_total_or_nothing() {
    for status in ["pending", "cancelling"] {
        let order = order(status);
        assert_eq!(of_money(&order, &[]), []);
        assert_eq!(of_money(&order, &[paid()]), []);
        assert_eq!(of_money(&order, &[payment("partially_refunded", 700, 300)]), [], "a refund may be under way");
        assert_eq!(of_money(&order, &[payment("captured", 600, 0)]), [Law::WrongAmount]);
        assert_eq!(of_money(&order, &[paid(), AuditPayment { id: "q".into(), ..paid() }]), [Law::ChargedTwice]);
    }
}

#[test]
fn an_order_that_is_undone_keeps_no_money() {
    for status in ["failed", "cancelled"] {
        let order = order(status);
        assert_eq!(of_money(&order, &[payment("refunded", 700, 700)]), []);
        assert_eq!(of_money(&order, &[paid()]), [Law::ChargedForNothing]);
        assert_eq!(of_money(&order, &[]), [Law::OrderNamesOtherPayment]);
        assert_eq!(of_money(&AuditOrder { payment: None, ..order }, &[]), []);
    }
    let open = |payment| AuditPayment { closed: false, ..payment };
    assert_eq!(of_money(&order("failed"), &[open(payment("refunded", 700, 700))]), [Law::ChargeNotClosed]);
    assert_eq!(of_money(&order("failed"), &[open(payment("voided", 0, 0))]), [Law::ChargeNotClosed]);
    assert_eq!(of_money(&order("failed"), &[open(payment("declined", 0, 0))]), []);
    assert_eq!(of_money(&order("cancelled"), &[open(payment("refunded", 700, 700))]), [], "a refund closes no key");
}

#[test]
fn a_payment_without_its_order_may_keep_nothing() {
    assert_eq!(laws(money::orphan(&paid())), [Law::OrphanPayment]);
    assert_eq!(laws(money::orphan(&payment("captured", 1, 0))), [Law::OrphanPayment]);
    assert_eq!(laws(money::orphan(&payment("refunded", 700, 700))), []);
    assert_eq!(money::orphan(&paid()).unwrap().detail, "payment p keeps 7.00 EUR for an order that does not exist");
}

#[test]
fn a_confirmed_order_has_its_goods_once() {
    let confirmed = order("confirmed");
    assert_eq!(of_goods(&confirmed, &[reservation("committed")]), []);
    for state in ["released", "expired", "restocked"] {
        assert_eq!(of_goods(&confirmed, &[reservation(state)]), [Law::GoodsNotCommitted], "{state}");
    }
    let twice = [reservation("committed"), AuditReservation { id: "q".into(), ..reservation("committed") }];
    for status in ["pending", "confirmed"] {
        assert_eq!(of_goods(&order(status), &twice), [Law::GoodsCommittedTwice]);
    }
    let held = AuditReservation { id: "q".into(), ..reservation("held") };
    assert_eq!(of_goods(&confirmed, &[reservation("committed"), held]), [Law::GoodsHeld]);
    let unnamed = AuditOrder { reservation: None, ..order("confirmed") };
    assert_eq!(of_goods(&unnamed, &[reservation("committed")]), [Law::OrderNamesOtherReservation]);
    let lies: [fn(&mut AuditReserved); 4] = [
        |line| line.sku = "coffee".into(),
        |line| line.quantity = 1,
        |line| line.unit_price_minor = 349,
        |line| line.currency = "USD".into(),
    ];
    for lie in lies {
        let mut other = reservation("committed");
        lie(&mut other.lines[0]);
        assert_eq!(of_goods(&confirmed, &[other]), [Law::GoodsDifferFromOrder]);
    }
}

#[test]
fn the_order_of_lines_is_no_difference() {
    let (mut ordered, mut sold) = (order("confirmed"), reservation("committed"));
    ordered.lines.push(AuditLine { sku: "cup".into(), quantity: 1, unit_price_minor: 900 });
    sold.lines
        .insert(0, AuditReserved { sku: "cup".into(), quantity: 1, unit_price_minor: 900, currency: "EUR".into() });
    assert_eq!(of_goods(&ordered, &[sold]), []);
}

#[test]
fn an_order_that_is_undone_keeps_no_goods() {
    for status in ["failed", "cancelled"] {
        let order = order(status);
        assert_eq!(of_goods(&order, &[reservation("released")]), []);
        assert_eq!(of_goods(&order, &[reservation("committed")]), [Law::GoodsKept]);
        assert_eq!(of_goods(&order, &[reservation("held")]), [Law::GoodsHeld]);
        assert_eq!(of_goods(&order, &[]), [Law::OrderNamesOtherReservation]);
        assert_eq!(of_goods(&AuditOrder { reservation: None, ..order }, &[]), []);
    }
    for (state, kept) in [("held", true), ("committed", true), ("released", false), ("restocked", false)] {
        assert_eq!(goods::orphan(&reservation(state)).is_some(), kept, "{state}");
    }
}

#[test]
fn the_deciding_step_is_that_of_the_last_saga() {
    for status in ["confirmed", "shipped", "failed"] {
        assert_eq!(goods::deciding_step(&order(status)).as_deref(), Some("s/commit_stock"));
    }
    let cancelled = AuditOrder { cancel_saga: Some("c".into()), ..order("cancelled") };
    assert_eq!(goods::deciding_step(&cancelled).as_deref(), Some("c/restock"));
    assert_eq!(goods::deciding_step(&order("pending")), None);
}

#[test]
fn the_deciding_step_says_what_the_order_says() {
    let step = |state: &str, about: &str| AuditStep {
        key: "s/commit_stock".into(),
        state: state.into(),
        answer: Some(format!(r#"{{"reservation":"{about}"}}"#)),
    };
    let differs = |order: &AuditOrder, step: Option<&AuditStep>, kept| {
        goods::check_step(order, "s/commit_stock", step, kept).map(|found| found.law) == Some(Law::StepAndOrderDiffer)
    };
    let (confirmed, failed) = (order("confirmed"), order("failed"));
    assert!(!differs(&confirmed, Some(&step("done", "r")), true));
    assert!(differs(&confirmed, Some(&step("done", "q")), true));
    assert!(differs(&confirmed, Some(&step("refused", "r")), true));
    assert!(differs(&confirmed, None, true));
    assert!(!differs(&confirmed, None, false), "records of that age are gone");
    assert!(differs(&failed, Some(&step("done", "r")), true));
    assert!(!differs(&failed, Some(&step("tombstone", "r")), true));
    assert!(!differs(&failed, None, true));
}

#[test]
fn a_saga_that_no_replica_runs_is_reported() {
    let minutes = |minutes| NOW + Duration::from_mins(minutes);
    let check = |order: &AuditOrder, now| orders::check(order, Standing::of(order).unwrap(), now);
    let law = |order: &AuditOrder, now| check(order, now).map(|found| found.law);
    assert_eq!(law(&order("pending"), minutes(30)), None);
    let told = check(&order("pending"), minutes(30) + Duration::from_secs(1)).unwrap();
    assert_eq!((told.law, told.detail.as_str()), (Law::SagaStuck, "in flight, and not attempted for 30 minutes"));
    assert_eq!(law(&order("confirmed"), minutes(600)), None);
    let attempted = AuditOrder { saga_updated_at: Some(minutes(20)), ..order("cancelling") };
    assert_eq!((law(&attempted, minutes(50)), law(&attempted, minutes(51))), (None, Some(Law::SagaStuck)));
    let parked = AuditOrder { saga_status: Some("parked".into()), ..order("pending") };
    assert_eq!(check(&parked, NOW).unwrap().detail, "its saga s is parked");
    let cancelling = AuditOrder { cancel_saga: Some("c".into()), ..parked };
    assert_eq!(check(&cancelling, NOW).unwrap().detail, "its saga c is parked");
    assert_eq!(law(&AuditOrder { saga_status: Some("running".into()), ..order("pending") }, NOW), None);
}

#[test]
fn every_status_of_an_order_has_a_standing() {
    let standing = |status: &str| Standing::of(&order(status));
    assert_eq!([standing("pending"), standing("cancelling")], [Some(Standing::InFlight); 2]);
    assert_eq!([standing("confirmed"), standing("shipped")], [Some(Standing::Confirmed); 2]);
    assert_eq!([standing("failed"), standing("cancelled")], [Some(Standing::Undone); 2]);
    assert_eq!(standing("lost"), None);
}

#[test]
fn a_payment_adds_up_in_every_state() {
    let refund = |minor, done| {
        let state = if done { AuditRefundState::Done { receipt: "r".into() } } else { AuditRefundState::Pending };
        AuditRefund { key: "k".into(), amount_minor: minor, state }
    };
    let with = |status, captured, refunded, refunds: &[AuditRefund]| AuditPayment {
        refunds: refunds.to_vec(),
        ..payment(status, captured, refunded)
    };
    let held = |payment| AuditPayment { held_minor: Some(700), ..payment };
    let good = [
        payment("pending", 0, 0),
        payment("declined", 0, 0),
        payment("voided", 0, 0),
        held(payment("authorized", 0, 0)),
        held(payment("captured", 700, 0)),
        held(payment("captured", 1, 0)),
        with("captured", 700, 0, &[refund(700, false)]),
        with("partially_refunded", 700, 699, &[refund(699, true), refund(1, false)]),
        with("refunded", 700, 700, &[refund(300, true), refund(400, true)]),
        AuditPayment { tombstone: true, ..AuditPayment { closed: true, ..AuditPayment::default() } },
    ];
    for payment in &good {
        assert_eq!(laws(payments::check(payment)), [], "{payment:?}");
    }
    let malformed = [
        payment("pending", 1, 0),
        with("voided", 0, 0, &[refund(1, false)]),
        payment("authorized", 0, 0),
        held(payment("authorized", 1, 0)),
        payment("captured", 0, 0),
        with("captured", 700, 1, &[refund(1, true)]),
        payment("partially_refunded", 700, 0),
        with("partially_refunded", 700, 700, &[refund(700, true)]),
        with("refunded", 700, 699, &[refund(699, true)]),
        payment("refunded", 0, 0),
        payment("captured", 701, 0),
        AuditPayment { held_minor: Some(699), ..payment("captured", 700, 0) },
        AuditPayment { held_minor: Some(800), ..payment("captured", 701, 0) },
        payment("lost", 0, 0),
        AuditPayment { tombstone: true, closed: false, ..AuditPayment::default() },
    ];
    for payment in &malformed {
        assert_eq!(laws(payments::check(payment)), [Law::PaymentMalformed], "{payment:?}");
    }
    for status in ["pending", "declined"] {
        let gave_back = with(status, 0, 1, &[refund(1, true)]);
        assert_eq!(laws(payments::check(&gave_back)), [Law::OverRefunded, Law::PaymentMalformed]);
    }
    assert_eq!(laws(payments::check(&with("refunded", 700, 701, &[refund(701, true)]))), [Law::OverRefunded]);
    assert_eq!(laws(payments::check(&payment("refunded", 700, 700))), [Law::RefundsNotSum]);
    assert_eq!(laws(payments::check(&with("refunded", 700, 700, &[refund(700, false)]))), [Law::RefundsNotSum]);
}

#[test]
fn an_unreadable_payment_is_told_where_nothing_else_is() {
    let unreadable = |payment| AuditPayment { unreadable: Some("no JSON".into()), ..payment };
    assert_eq!(laws(payments::check(&unreadable(payment("", 0, 0)))), [Law::PaymentUnreadable]);
    assert_eq!(laws(payments::check(&unreadable(payment("captured", 0, 0)))), [Law::PaymentMalformed]);
}
