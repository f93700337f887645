//! Payments against the bank's books, key by key. Two parties wrote them, on two sides of a network; ours record each intent before the
//! bank is asked, so that what is in doubt is on record as such.

use payment_service::audit::{AuditPayment, AuditRefundState};

use super::{Found, Law, money};
use crate::audit::account::{Account, Movement};

/// Compares what is on record under one key with the bank's account of it. At least one of them is there.
pub fn compare(payment: Option<&AuditPayment>, account: Option<&Account>) -> Vec<Found> {
    let mut found = Vec::new();
    let nothing = Account::default();
    let account = account.unwrap_or(&nothing);
    if let Some(why) = malformed(account) {
        return vec![Found::new(Law::BankStatementMalformed, why)];
    }
    let payment = match payment {
        Some(payment) if payment.unreadable.is_some() && payment.status.is_empty() && !payment.tombstone => {
            return found;
        }
        Some(payment) if !payment.tombstone => payment,
        none => {
            let ours = if none.is_some() { "a tombstone" } else { "nothing" };
            unknown(account, ours, &mut found);
            return found;
        }
    };
    match payment.status.as_str() {
        // In doubt: whatever the bank has done of it is all right, and the order's own law says whether it may still be.
        "pending" => {}
        "authorized" if payment.settlement_in_doubt => {}
        "declined" | "voided" | "authorized" => {
            let ours = format!("payment {} is {}", payment.id, payment.status);
            let held = Account { held: None, ..account.clone() };
            let account = if payment.status == "authorized" { &held } else { account };
            unknown(account, &ours, &mut found);
        }
        _ => captured(payment, account, &mut found),
    }
    found
}

/// What the bank should have nothing of.
fn unknown(account: &Account, ours: &str, found: &mut Vec<Found>) {
    if let Some(taken) = account.captures.first() {
        let back: i64 = account.refunds.iter().fold(0, |sum, refund| sum.saturating_add(refund.amount_minor));
        let (took, back) = (amount(taken), money(back, &taken.currency));
        let detail = format!("the bank took {took} under key {} and gave {back} back; ours: {ours}", account.key);
        found.push(Found::new(Law::BankCaptureUnknown, detail));
    }
    if let Some((held, currency)) = &account.held {
        let held = money(*held, currency);
        let detail = format!("the bank holds {held} under key {}; ours: {ours}", account.key);
        found.push(Found::new(Law::BankHoldUnknown, detail));
    }
}

fn captured(payment: &AuditPayment, account: &Account, found: &mut Vec<Found>) {
    let ours = money(payment.captured_minor, &payment.currency);
    let Some(taken) = account.captures.first() else {
        let detail = format!("payment {} took {ours}; the bank took nothing under key {}", payment.id, payment.key);
        return found.push(Found::new(Law::BankCaptureMissing, detail));
    };
    if (taken.amount_minor, &taken.currency) != (payment.captured_minor, &payment.currency) {
        let bank = amount(taken);
        let detail = format!("payment {} took {ours}, the bank took {bank} under key {}", payment.id, payment.key);
        found.push(Found::new(Law::BankAmountDiffers, detail));
    }
    if let Some(receipt) = payment.receipt.as_ref().filter(|receipt| **receipt != taken.receipt) {
        let detail = format!("payment {} has receipt {receipt}, the bank's is {}", payment.id, taken.receipt);
        found.push(Found::new(Law::BankReceiptDiffers, detail));
    }
    refunds(payment, account, found);
}

fn refunds(payment: &AuditPayment, account: &Account, found: &mut Vec<Found>) {
    for refund in &payment.refunds {
        let theirs = account.refunds.iter().find(|theirs| theirs.key == refund.key);
        let ours = money(refund.amount_minor, &payment.currency);
        match (&refund.state, theirs) {
            (AuditRefundState::Done { .. }, None) => {
                let detail = format!(
                    "payment {} gave {ours} back by refund {}; the bank has no such refund",
                    payment.id, refund.key
                );
                found.push(Found::new(Law::BankRefundMissing, detail));
            }
            (AuditRefundState::Refused, Some(theirs)) => {
                let (id, bank) = (&payment.id, amount(theirs));
                let detail = format!("refund {} of payment {id} was refused; the bank gave {bank} back", refund.key);
                found.push(Found::new(Law::BankRefundUnknown, detail));
            }
            (state, Some(theirs)) => {
                if (theirs.amount_minor, &theirs.currency) != (refund.amount_minor, &payment.currency) {
                    let (id, bank) = (&payment.id, amount(theirs));
                    let detail = format!("refund {} of payment {id} is {ours}, at the bank {bank}", refund.key);
                    found.push(Found::new(Law::BankAmountDiffers, detail));
                }
                if let AuditRefundState::Done { receipt } = state
                    && *receipt != theirs.receipt
                {
                    let (id, key) = (&payment.id, &refund.key);
                    let detail =
                        format!("refund {key} of payment {id} has receipt {receipt}, the bank's is {}", theirs.receipt);
                    found.push(Found::new(Law::BankReceiptDiffers, detail));
                }
            }
            (AuditRefundState::Pending | AuditRefundState::Refused, None) => {}
        }
    }
    for theirs in &account.refunds {
        if !payment.refunds.iter().any(|refund| refund.key == theirs.key) {
            let bank = amount(theirs);
            let detail = format!(
                "the bank gave {bank} back by refund {}; payment {} has no such refund",
                theirs.key, payment.id
            );
            found.push(Found::new(Law::BankRefundUnknown, detail));
        }
    }
}

/// What no statement may say.
fn malformed(account: &Account) -> Option<String> {
    if let Some(why) = &account.unreadable {
        return Some(format!("the bank's line under key {} cannot be read: {why}", account.key));
    }
    let sum = |movements: &[Movement]| {
        movements.iter().fold(0_i64, |sum, movement| sum.saturating_add(movement.amount_minor))
    };
    let (taken, back) = (sum(&account.captures), sum(&account.refunds));
    let currencies =
        |movement: &&Movement| account.captures.first().is_some_and(|first| first.currency != movement.currency);
    if account.captures.len() > 1 || back > taken || account.refunds.iter().any(|refund| currencies(&refund)) {
        let times = account.captures.len();
        let detail = format!(
            "under key {} the bank took {taken} in {times} captures, and gave back {back} (minor units)",
            account.key
        );
        return Some(detail);
    }
    None
}

fn amount(movement: &Movement) -> String {
    money(movement.amount_minor, &movement.currency)
}

#[cfg(test)]
mod tests {
    use payment_service::audit::AuditRefund;

    use super::*;

    fn movement(key: &str, minor: i64) -> Movement {
        let receipt = format!("r-{key}");
        Movement { key: key.into(), amount_minor: minor, currency: "EUR".into(), receipt }
    }

    fn took(minor: i64, refunds: &[(&str, i64)]) -> Account {
        let refunds = refunds.iter().map(|(key, minor)| movement(key, *minor)).collect();
        Account { key: "k".into(), captures: vec![movement("k", minor)], refunds, ..Account::default() }
    }

    fn payment(status: &str, captured: i64, refunds: &[(&str, i64)]) -> AuditPayment {
        let refunds: Vec<AuditRefund> = refunds
            .iter()
            .map(|(key, minor)| {
                let state = AuditRefundState::Done { receipt: format!("r-{key}") };
                AuditRefund { key: (*key).into(), amount_minor: *minor, state }
            })
            .collect();
        AuditPayment {
            key: "k".into(),
            id: "p".into(),
            currency: "EUR".into(),
            status: status.into(),
            receipt: (captured > 0).then(|| "r-k".into()),
            captured_minor: captured,
            refunds,
            ..AuditPayment::default()
        }
    }

    fn codes(payment: Option<&AuditPayment>, account: Option<&Account>) -> Vec<&'static str> {
        compare(payment, account).iter().map(|found| found.law.code()).collect()
    }

    #[test]
    fn two_books_that_agree_are_silent() {
        let captured = payment("captured", 500, &[]);
        assert!(codes(Some(&captured), Some(&took(500, &[]))).is_empty());
        let refunded = payment("refunded", 500, &[("a", 500)]);
        assert!(codes(Some(&refunded), Some(&took(500, &[("a", 500)]))).is_empty());
        for status in ["declined", "voided", "pending", "authorized"] {
            assert!(codes(Some(&payment(status, 0, &[])), None).is_empty(), "{status}");
        }
        assert!(codes(None, Some(&Account { key: "k".into(), ..Account::default() })).is_empty());
    }

    #[test]
    fn what_is_in_doubt_may_be_anything_at_the_bank() {
        assert!(codes(Some(&payment("pending", 0, &[])), Some(&took(500, &[]))).is_empty());
        let capturing = AuditPayment { settlement_in_doubt: true, ..payment("authorized", 0, &[]) };
        assert!(codes(Some(&capturing), Some(&took(500, &[]))).is_empty());
        let mut refunding = payment("captured", 500, &[("a", 500)]);
        refunding.refunds[0].state = AuditRefundState::Pending;
        assert!(codes(Some(&refunding), Some(&took(500, &[]))).is_empty());
        assert!(codes(Some(&refunding), Some(&took(500, &[("a", 500)]))).is_empty());
        assert_eq!(codes(Some(&refunding), Some(&took(500, &[("a", 499)]))), ["bank_amount_differs"]);
    }

    #[test]
    fn each_side_is_missed_by_the_other() {
        let captured = payment("captured", 500, &[]);
        assert_eq!(codes(None, Some(&took(500, &[]))), ["bank_capture_unknown"]);
        assert_eq!(codes(Some(&payment("declined", 0, &[])), Some(&took(500, &[]))), ["bank_capture_unknown"]);
        assert_eq!(codes(Some(&payment("authorized", 0, &[])), Some(&took(500, &[]))), ["bank_capture_unknown"]);
        let tombstone = AuditPayment { tombstone: true, ..AuditPayment::default() };
        assert_eq!(codes(Some(&tombstone), Some(&took(500, &[("a", 500)]))), ["bank_capture_unknown"]);
        assert_eq!(codes(Some(&captured), None), ["bank_capture_missing"]);
        assert_eq!(codes(Some(&captured), Some(&took(501, &[]))), ["bank_amount_differs"]);
        assert_eq!(codes(Some(&captured), Some(&took(500, &[("a", 1)]))), ["bank_refund_unknown"]);
        assert_eq!(
            codes(Some(&payment("refunded", 500, &[("a", 500)])), Some(&took(500, &[]))),
            ["bank_refund_missing"]
        );
        let other = AuditPayment { receipt: Some("r-x".into()), ..captured };
        assert_eq!(codes(Some(&other), Some(&took(500, &[]))), ["bank_receipt_differs"]);
    }

    #[test]
    fn what_is_found_tells_the_amounts_of_both_sides() {
        let detail = |payment: Option<&AuditPayment>, account: &Account| {
            compare(payment, Some(account)).into_iter().map(|found| found.detail).collect::<Vec<_>>().join("; ")
        };
        let captured = payment("captured", 500, &[]);
        assert_eq!(
            detail(None, &took(500, &[("a", 100), ("b", 200)])),
            "the bank took 5.00 EUR under key k and gave 3.00 EUR back; ours: nothing"
        );
        let tombstone = AuditPayment { tombstone: true, ..AuditPayment::default() };
        let held = Account { key: "k".into(), held: Some((500, "XXX".into())), ..Account::default() };
        assert_eq!(detail(Some(&tombstone), &held), "the bank holds 500 XXX under key k; ours: a tombstone");
        assert_eq!(
            detail(Some(&captured), &took(501, &[])),
            "payment p took 5.00 EUR, the bank took 5.01 EUR under key k"
        );
        assert_eq!(
            detail(Some(&captured), &took(500, &[("a", 1)])),
            "the bank gave 0.01 EUR back by refund a; payment p has no such refund"
        );
        assert_eq!(
            detail(None, &took(500, &[("a", 501)])),
            "under key k the bank took 500 in 1 captures, and gave back 501 (minor units)"
        );
    }

    #[test]
    fn a_refund_agrees_in_state_amount_currency_and_receipt() {
        let refunded = payment("refunded", 500, &[("a", 500)]);
        let mut other = took(500, &[("a", 500)]);
        other.refunds[0].receipt = "r-x".into();
        assert_eq!(codes(Some(&refunded), Some(&other)), ["bank_receipt_differs"]);
        let mut refused = payment("captured", 500, &[("a", 500)]);
        refused.refunds[0].state = AuditRefundState::Refused;
        assert!(codes(Some(&refused), Some(&took(500, &[]))).is_empty());
        assert_eq!(codes(Some(&refused), Some(&took(500, &[("a", 500)]))), ["bank_refund_unknown"]);
        let mut dollars = took(500, &[]);
        dollars.captures[0].currency = "USD".into();
        assert_eq!(codes(Some(&payment("captured", 500, &[])), Some(&dollars)), ["bank_amount_differs"]);
        let in_dollars = AuditPayment { currency: "USD".into(), ..refunded };
        assert_eq!(codes(Some(&in_dollars), Some(&took(500, &[("a", 500)]))), ["bank_amount_differs"; 2]);
        let pending = payment("pending", 0, &[]);
        assert!(codes(Some(&pending), Some(&took(500, &[("a", 100)]))).is_empty());
    }

    #[test]
    fn an_unreadable_payment_is_not_compared() {
        let unreadable =
            AuditPayment { key: "k".into(), unreadable: Some("no JSON".into()), ..AuditPayment::default() };
        assert!(codes(Some(&unreadable), Some(&took(500, &[]))).is_empty());
        let with_status = AuditPayment { status: "declined".into(), ..unreadable.clone() };
        assert_eq!(codes(Some(&with_status), Some(&took(500, &[]))), ["bank_capture_unknown"]);
        let tombstone = AuditPayment { tombstone: true, ..unreadable };
        assert_eq!(codes(Some(&tombstone), Some(&took(500, &[]))), ["bank_capture_unknown"]);
    }

    #[test]
    fn a_hold_belongs_to_an_authorization() {
        let held = Account { key: "k".into(), held: Some((500, "EUR".into())), ..Account::default() };
        assert!(codes(Some(&payment("authorized", 0, &[])), Some(&held)).is_empty());
        assert_eq!(codes(Some(&payment("voided", 0, &[])), Some(&held)), ["bank_hold_unknown"]);
        assert_eq!(codes(None, Some(&held)), ["bank_hold_unknown"]);
    }

    #[test]
    fn a_statement_that_does_not_add_up_is_named() {
        assert_eq!(codes(None, Some(&took(500, &[("a", 501)]))), ["bank_statement_malformed"]);
        let mut twice = took(500, &[]);
        twice.captures.push(movement("k2", 500));
        assert_eq!(codes(Some(&payment("captured", 500, &[])), Some(&twice)), ["bank_statement_malformed"]);
        let mut mixed = took(500, &[("a", 1)]);
        mixed.refunds[0].currency = "USD".into();
        assert_eq!(codes(None, Some(&mixed)), ["bank_statement_malformed"]);
        let unreadable = Account { key: "k".into(), unreadable: Some("cut off".into()), ..Account::default() };
        assert_eq!(codes(None, Some(&unreadable)), ["bank_statement_malformed"]);
    }
}
