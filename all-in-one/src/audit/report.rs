//! What an audit found, as text for people and as JSON for machines.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};

use super::laws::{Finding, orders::Standing};

/// More are counted, not kept: a store with more discrepancies is restored, not corrected one by one.
const FINDINGS_MAX: usize = 10_000;

/// The exit code of an audit that found something.
pub const DISCREPANCIES: u8 = 1;
/// The exit code of an audit that found nothing in what it checked, but could not check everything.
pub const NOT_CHECKED: u8 = 3;

/// Something that could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Orders, in all.
    pub orders: u64,
    /// Of those, confirmed or shipped.
    pub confirmed: u64,
    /// Of those, failed or cancelled.
    pub undone: u64,
    /// Of those, with a saga at work.
    pub in_flight: u64,
    /// Payments looked at.
    pub payments: u64,
    /// Reservations looked at.
    pub reservations: u64,
    /// Sagas in the journal.
    pub sagas: u64,
    /// Movements on the acquirer's statement.
    pub movements: u64,
    /// The discrepancies.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
    /// What was left out on purpose.
    pub left_out: Vec<String>,
}

impl Report {
    /// Whether the books balance, all of them.
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.unchecked.is_empty()
    }

    /// What the process tells its caller: 0 only when everything was checked and nothing found.
    pub fn exit_code(&self) -> ExitCode {
        self.code().into()
    }

    const fn code(&self) -> u8 {
        match (self.findings.is_empty(), self.unchecked.is_empty()) {
            (true, true) => 0,
            (true, false) => NOT_CHECKED,
            (false, _) => DISCREPANCIES,
        }
    }

    pub(super) fn count(&mut self, standing: Option<Standing>) {
        self.orders += 1;
        match standing {
            Some(Standing::InFlight) => self.in_flight += 1,
            Some(Standing::Confirmed) => self.confirmed += 1,
            Some(Standing::Undone) => self.undone += 1,
            None => {}
        }
    }

    pub(super) fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        for finding in found {
            if self.findings.len() < FINDINGS_MAX {
                self.findings.push(finding);
            } else {
                self.more_findings += 1;
            }
        }
    }

    pub(super) fn not_checked(&mut self, what: &str, why: String) {
        self.unchecked.push(Unchecked { what: what.to_owned(), why });
    }

    /// All that is wrong with one order, one after the other.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|one, other| {
            let key = |finding: &Finding| (finding.order.clone(), finding.subject.clone(), finding.law);
            key(one).cmp(&key(other))
        });
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "audit: {} orders ({} confirmed, {} undone, {} in flight), {} payments, {} reservations, {} sagas",
            self.orders, self.confirmed, self.undone, self.in_flight, self.payments, self.reservations, self.sagas
        );
        if self.movements > 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, ", {} movements at the bank", self.movements);
        }
        out.push('\n');
        for finding in &self.findings {
            let Finding { law, about, subject, order, detail } = finding;
            let whose = match order {
                Some(order) if order == subject => order.clone(),
                Some(order) => format!("{order} ({about} {subject})"),
                None => format!("{about} {subject}"),
            };
            let _ = writeln!(out, "  ✗ {whose}  {}: {detail}\n    → {}", law.code(), law.advice());
        }
        for Unchecked { what, why } in &self.unchecked {
            let _ = writeln!(out, "  ! not checked: {what}: {why}");
        }
        for what in &self.left_out {
            let _ = writeln!(out, "  - left out: {what}");
        }
        let verdict = match (self.findings.len() as u64 + self.more_findings, self.unchecked.is_empty()) {
            (0, true) => "  ✓ the books balance".to_owned(),
            (0, false) => "  no discrepancy in what was checked, but not everything was".to_owned(),
            (1, _) => "  1 discrepancy".to_owned(),
            (many, _) if self.more_findings > 0 => {
                format!("  {many} discrepancies, of which {} are listed", self.findings.len())
            }
            (many, _) => format!("  {many} discrepancies"),
        };
        out + &verdict + "\n"
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            let Finding { law, about, subject, order, detail } = finding;
            json!({
                "order_id": order, "code": law.code(), "detail": detail, "advice": law.advice(),
                "subject": { "kind": about, "id": subject },
            })
        };
        let findings: Vec<Value> = self.findings.iter().map(finding).collect();
        let unchecked: Vec<Value> =
            self.unchecked.iter().map(|unchecked| json!({ "what": unchecked.what, "why": unchecked.why })).collect();
        json!({
            "orders": self.orders, "confirmed": self.confirmed, "undone": self.undone, "in_flight": self.in_flight,
            "payments": self.payments, "reservations": self.reservations, "sagas": self.sagas, "movements": self.movements,
            "discrepancies": findings, "more_discrepancies": self.more_findings, "not_checked": unchecked,
            "left_out": self.left_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::laws::{Found, Law};

    #[test]
    fn only_a_complete_audit_without_findings_is_a_success() {
        let mut report = Report::default();
        assert_eq!((report.code(), report.is_clean()), (0, true));
        report.left_out.push("the bank's books: asked for".to_owned());
        assert_eq!((report.code(), report.is_clean()), (0, true));
        report.not_checked("the bank's books", "it does not answer".to_owned());
        assert_eq!((report.code(), report.is_clean()), (3, false));
        assert!(report.to_text().contains("! not checked: the bank's books: it does not answer"));
        assert!(!report.to_text().contains("the books balance"));
        report.add([Finding::of_order("o", Found::new(Law::NotCharged, "nothing"))]);
        assert_eq!((report.code(), report.is_clean()), (1, false));
    }

    #[test]
    fn findings_beyond_the_bound_are_counted() {
        let mut report = Report::default();
        let finding = || Finding::of_order("o", Found::new(Law::NotCharged, "nothing"));
        report.add((0..=FINDINGS_MAX).map(|_| finding()));
        assert_eq!((report.findings.len(), report.more_findings), (FINDINGS_MAX, 1));
        assert!(report.to_text().contains("10001 discrepancies, of which 10000 are listed"));
    }

    #[test]
    fn a_finding_names_its_order_and_what_is_wrong_in_it() {
        let finding = Finding {
            law: Law::OrphanSaga,
            about: "saga",
            subject: "s".to_owned(),
            order: Some("o".to_owned()),
            detail: "about nothing".to_owned(),
        };
        let mut report = Report::default();
        report.add([finding]);
        assert!(report.to_text().contains("✗ o (saga s)  orphan_saga: about nothing"), "{}", report.to_text());
        let json = report.to_json();
        assert_eq!(json["discrepancies"][0]["subject"], json!({ "kind": "saga", "id": "s" }));
        assert_eq!(json["discrepancies"][0]["order_id"], "o");
    }
}
