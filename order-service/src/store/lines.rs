//! An order's lines as they are stored: JSON in its row, since they are written with it and never change.

use amends_primitives::{Currency, Money};
use amends_sql::SqlError;
use serde::{Deserialize, Serialize};

use crate::domain::{Line, Quantity, Sku};

/// One line. What old rows hold must stay readable (`tests/golden/lines.v1.json`).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredLine {
    pub(super) sku: String,
    pub(super) quantity: i64,
    /// In the order's currency.
    pub(super) unit_price_minor: i64,
}

pub(super) fn write(lines: &[Line]) -> Result<String, SqlError> {
    let stored = |line: &Line| StoredLine {
        sku: line.sku.as_str().to_owned(),
        quantity: i64::from(line.quantity),
        unit_price_minor: line.unit_price.amount_minor(),
    };
    serde_json::to_string(&lines.iter().map(stored).collect::<Vec<_>>()).map_err(|_| CORRUPT)
}

pub(super) fn read(text: &str, currency: Currency) -> Result<Vec<Line>, SqlError> {
    raw(text).ok().and_then(|lines| priced(lines, currency)).ok_or(CORRUPT)
}

/// As they are stored, whatever they are.
pub(super) fn raw(text: &str) -> Result<Vec<StoredLine>, serde_json::Error> {
    serde_json::from_str(text)
}

fn priced(lines: Vec<StoredLine>, currency: Currency) -> Option<Vec<Line>> {
    let line = |line: StoredLine| {
        Some(Line {
            sku: Sku::try_new(line.sku).ok()?,
            quantity: Quantity::try_new(line.quantity).ok()?,
            unit_price: Money::new(line.unit_price_minor, currency),
        })
    };
    lines.into_iter().map(line).collect()
}

const CORRUPT: SqlError = SqlError::Corrupt { what: "orders.lines" };

#[cfg(test)]
mod tests {
    use super::*;

    /// What old rows hold must stay readable: change the reader, never this text.
    #[test]
    fn stored_lines_of_version_1_are_read() {
        let line = |sku: &str, quantity, minor| Line {
            sku: Sku::try_new(sku).unwrap(),
            quantity: Quantity::try_new(quantity).unwrap(),
            unit_price: Money::new(minor, Currency::EUR),
        };
        let lines = [line("tea", 3, 500), line("mug", 1, 900)];
        let golden = include_str!("../../tests/golden/lines.v1.json").trim_end();
        assert_eq!(read(golden, Currency::EUR).unwrap(), lines);
        assert_eq!(write(&lines).unwrap(), golden);
    }

    #[test]
    fn spoilt_lines_are_told_of() {
        let none = r#"[{"sku":"tea","quantity":0,"unit_price_minor":1}]"#;
        for text in ["", "{}", "[{}]", none] {
            assert!(matches!(read(text, Currency::EUR), Err(SqlError::Corrupt { .. })), "{text}");
        }
    }
}
