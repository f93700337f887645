//! The money law of one order: what the payment store may hold for it.

use order_service::audit::AuditOrder;
use payment_service::audit::AuditPayment;

use super::{Found, Law, money, orders::Standing};

/// Whether what became of the payment is not known yet. Held money has not moved.
pub fn is_undecided(payment: &AuditPayment) -> bool {
    matches!(payment.status.as_str(), "pending" | "authorized")
}

/// What the payment keeps of the customer's money, in minor units.
pub const fn net_minor(payment: &AuditPayment) -> i64 {
    payment.captured_minor.saturating_sub(payment.refunded_minor)
}

fn net(payment: &AuditPayment) -> String {
    money(net_minor(payment), &payment.currency)
}

fn ids(payments: &[&AuditPayment]) -> String {
    let ids: Vec<&str> = payments.iter().map(|payment| payment.id.as_str()).collect();
    ids.join(", ")
}

/// Checks an order against its payments.
pub fn check(order: &AuditOrder, standing: Standing, payments: &[AuditPayment]) -> Vec<Found> {
    let keeping: Vec<&AuditPayment> = payments.iter().filter(|payment| net_minor(payment) > 0).collect();
    let mut found = Vec::new();
    if standing == Standing::InFlight {
        in_flight(order, &keeping, &mut found);
        return found;
    }
    for payment in payments {
        if is_undecided(payment) {
            let detail = format!("settled, but payment {} is still {}", payment.id, payment.status);
            found.push(Found::new(Law::PaymentUndecided, detail));
        }
        if payment.customer != order.customer {
            let detail = format!("of {}, but payment {} is of {}", order.customer, payment.id, payment.customer);
            found.push(Found::new(Law::PaymentOfOtherCustomer, detail));
        }
    }
    match standing {
        Standing::Confirmed => confirmed(order, &keeping, &mut found),
        _ => undone(order, payments, &keeping, &mut found),
    }
    found
}

/// What holds at any moment on the way: one saga has one charge, and a charge takes the total or nothing.
fn in_flight(order: &AuditOrder, keeping: &[&AuditPayment], found: &mut Vec<Found>) {
    match keeping {
        [] => {}
        [payment] => found.extend(amount(order, payment, payment.captured_minor)),
        several => {
            found.push(Found::new(Law::ChargedTwice, format!("paid more than once: payments {}", ids(several))));
        }
    }
}

fn amount(order: &AuditOrder, payment: &AuditPayment, minor: i64) -> Option<Found> {
    let keeps = || format!("payment {} keeps {}", payment.id, net(payment));
    if payment.currency != order.currency {
        return Some(Found::new(Law::WrongCurrency, format!("{}, the total is in {}", keeps(), order.currency)));
    }
    let total = || money(order.total_minor, &order.currency);
    (minor != order.total_minor).then(|| Found::new(Law::WrongAmount, format!("{}, the total is {}", keeps(), total())))
}

fn confirmed(order: &AuditOrder, keeping: &[&AuditPayment], found: &mut Vec<Found>) {
    let payment = match keeping {
        [payment] => payment,
        [] => return found.push(Found::new(Law::NotCharged, "confirmed, but no payment was captured")),
        several => {
            let detail = format!("paid more than once: payments {}", ids(several));
            return found.push(Found::new(Law::ChargedTwice, detail));
        }
    };
    found.extend(amount(order, payment, net_minor(payment)));
    let step = format!("{}/charge_payment", order.place_saga);
    if order.payment.as_deref() != Some(payment.id.as_str()) {
        let named = order.payment.as_deref().unwrap_or("none");
        let detail = format!("names payment {named}, but payment {} keeps its money", payment.id);
        found.push(Found::new(Law::OrderNamesOtherPayment, detail));
    } else if payment.key != step {
        let detail = format!("payment {} was made by step {}, the order's is {step}", payment.id, payment.key);
        found.push(Found::new(Law::OrderNamesOtherPayment, detail));
    }
}

fn undone(order: &AuditOrder, payments: &[AuditPayment], keeping: &[&AuditPayment], found: &mut Vec<Found>) {
    for payment in keeping {
        let detail = format!("not delivered, but payment {} keeps {}", payment.id, net(payment));
        found.push(Found::new(Law::ChargedForNothing, detail));
    }
    if let Some(named) = &order.payment
        && !payments.iter().any(|payment| payment.id == *named)
    {
        let detail = format!("names payment {named}, which the payment store does not have for it");
        found.push(Found::new(Law::OrderNamesOtherPayment, detail));
    }
    // A cancellation refunds and leaves the charge's key alone. A failed order's must not be charged any more; what was declined never will.
    let open = |payment: &&AuditPayment| {
        order.status == "failed" && !payment.closed && payment.status != "declined" && !is_undecided(payment)
    };
    for payment in payments.iter().filter(open) {
        let detail =
            format!("failed, but the step of payment {} ({}) was never compensated", payment.id, payment.status);
        found.push(Found::new(Law::ChargeNotClosed, detail));
    }
}

/// Checks a payment whose order does not exist.
pub fn orphan(payment: &AuditPayment) -> Option<Found> {
    let keeps = || format!("payment {} keeps {} for an order that does not exist", payment.id, net(payment));
    (net_minor(payment) > 0).then(|| Found::new(Law::OrphanPayment, keeps()))
}
