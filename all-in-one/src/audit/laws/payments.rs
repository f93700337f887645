//! The laws of one payment by itself.

use payment_service::audit::{AuditPayment, AuditRefundState};

use super::{Found, Law, money};

/// Checks a record.
pub fn check(payment: &AuditPayment) -> Vec<Found> {
    let mut found = Vec::new();
    let amount = |minor| money(minor, &payment.currency);
    if payment.refunded_minor > payment.captured_minor {
        let (refunded, captured) = (amount(payment.refunded_minor), amount(payment.captured_minor));
        let detail = format!("payment {} gave back {refunded} of {captured}", payment.id);
        found.push(Found::new(Law::OverRefunded, detail));
    }
    let given_back = payment
        .refunds
        .iter()
        .filter(|refund| matches!(refund.state, AuditRefundState::Done { .. }))
        .fold(0_i64, |sum, refund| sum.saturating_add(refund.amount_minor));
    if given_back != payment.refunded_minor {
        let (says, sum) = (amount(payment.refunded_minor), amount(given_back));
        let detail = format!("payment {} says it gave back {says}, its refunds come to {sum}", payment.id);
        found.push(Found::new(Law::RefundsNotSum, detail));
    }
    if let Some(wrong) = malformed(payment) {
        found.push(Found::new(Law::PaymentMalformed, format!("payment {} {wrong}", payment.id)));
    }
    if let (Some(why), true) = (&payment.unreadable, found.is_empty()) {
        let detail = format!("payment {} under key {} cannot be read: {why}", payment.id, payment.key);
        found.push(Found::new(Law::PaymentUnreadable, detail));
    }
    found
}

/// What its state and its amounts say of each other. More given back than taken is a law of its own.
fn malformed(payment: &AuditPayment) -> Option<String> {
    if payment.tombstone {
        return (!payment.closed).then(|| "is a tombstone that refuses nothing".to_owned());
    }
    let (taken, back) = (payment.captured_minor, payment.refunded_minor);
    let fits = match payment.status.as_str() {
        "pending" | "declined" | "voided" => taken == 0 && back == 0 && payment.refunds.is_empty(),
        "authorized" => taken == 0 && back == 0 && payment.held_minor.is_some(),
        "captured" => taken > 0 && back == 0,
        "partially_refunded" => back > 0 && back < taken,
        "refunded" => taken > 0 && back >= taken,
        // No state of ours, or a record so broken that it has none.
        _ => return payment.unreadable.is_none().then(|| format!("is in the state {:?}", payment.status)),
    };
    let most = payment.held_minor.unwrap_or(payment.amount_minor).min(payment.amount_minor);
    if !fits || taken > most {
        let amount = |minor| money(minor, &payment.currency);
        let (asked, taken, back) = (amount(payment.amount_minor), amount(taken), amount(back));
        return Some(format!("is {}: asked {asked}, took {taken}, gave back {back}", payment.status));
    }
    None
}
