//! What an audit found, as text for people and as JSON for machines.

use std::fmt::Write as _;

use amends_primitives::OrderId;
use serde_json::{Value, json};

use super::law::Discrepancy;

/// One discrepancy of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose books do not balance.
    pub order: OrderId,
    /// How.
    pub discrepancy: Discrepancy,
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
    /// The discrepancies, by order id.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the books balance.
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "audit: {} orders ({} confirmed, {} undone, {} in flight), {} payments, {} reservations\n",
            self.orders, self.confirmed, self.undone, self.in_flight, self.payments, self.reservations
        );
        for Finding { order, discrepancy } in &self.findings {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  ✗ {order}  {}: {discrepancy}\n    → {}", discrepancy.code(), discrepancy.advice());
        }
        let verdict = match self.findings.len() {
            0 => "  ✓ the books balance".to_owned(),
            1 => "  1 discrepancy".to_owned(),
            many => format!("  {many} discrepancies"),
        };
        out + &verdict + "\n"
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|Finding { order, discrepancy }| {
                json!({"order_id": order.to_string(), "code": discrepancy.code(), "detail": discrepancy.to_string(), "advice": discrepancy.advice()})
            })
            .collect();
        json!({
            "orders": self.orders, "confirmed": self.confirmed, "undone": self.undone, "in_flight": self.in_flight,
            "payments": self.payments, "reservations": self.reservations, "discrepancies": findings,
        })
    }
}
