//! A reservation's lines as they are stored: JSON in its row, since they are written with it and never change.

use amends_sql::SqlError;
use serde::{Deserialize, Serialize};

use super::text;
use crate::domain::{PricedLine, Quantity};

/// One line. What old rows hold must stay readable (`tests/golden/lines.v1.json`).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredLine {
    pub(super) sku: String,
    pub(super) quantity: i64,
    pub(super) price_minor: i64,
    pub(super) currency: String,
}

pub(super) fn write(lines: &[PricedLine]) -> Result<String, SqlError> {
    let stored = |line: &PricedLine| StoredLine {
        sku: line.sku.as_str().to_owned(),
        quantity: i64::from(line.quantity),
        price_minor: line.unit_price.amount_minor(),
        currency: line.unit_price.currency().code().to_owned(),
    };
    serde_json::to_string(&lines.iter().map(stored).collect::<Vec<_>>()).map_err(|_| CORRUPT)
}

pub(super) fn read(text: &str) -> Result<Vec<PricedLine>, SqlError> {
    let line = |line: StoredLine| {
        let quantity = u32::try_from(line.quantity).ok().and_then(Quantity::try_new);
        Ok(PricedLine {
            sku: text::parsed(&line.sku, "sku")?,
            quantity: quantity.ok_or(SqlError::Corrupt { what: "quantity" })?,
            unit_price: text::money(line.price_minor, &line.currency)?,
        })
    };
    raw(text).map_err(|_| CORRUPT)?.into_iter().map(line).collect()
}

/// As they are stored, whatever they are.
pub(super) fn raw(text: &str) -> Result<Vec<StoredLine>, serde_json::Error> {
    serde_json::from_str(text)
}

const CORRUPT: SqlError = SqlError::Corrupt { what: "reservation lines" };

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, Money};

    use super::*;

    /// What old rows hold must stay readable: change the reader, never this text.
    #[test]
    fn stored_lines_of_version_1_are_read() {
        let line = |sku: &str, units, minor| PricedLine {
            sku: sku.parse().unwrap(),
            quantity: Quantity::try_new(units).unwrap(),
            unit_price: Money::new(minor, Currency::EUR),
        };
        let lines = [line("tea", 3, 500), line("mug", 1, 900)];
        let golden = include_str!("../../tests/golden/lines.v1.json").trim_end();
        assert_eq!(read(golden).unwrap(), lines);
        assert_eq!(write(&lines).unwrap(), golden);
    }

    #[test]
    fn spoilt_lines_are_told_of() {
        let zero = r#"[{"sku":"tea","quantity":0,"price_minor":1,"currency":"EUR"}]"#;
        for text in ["", "{}", "[{}]", zero] {
            assert!(matches!(read(text), Err(SqlError::Corrupt { .. })), "{text}");
        }
    }
}
