//! Whether an order's goods can be set aside: all lines or none.

use std::collections::BTreeMap;

use amends_primitives::Money;

use super::{Item, PricedLine, Quantity, Rejection, Sku};

/// More lines would hold more rows locked, for longer, than one buyer may.
pub const LINES_MAX: usize = 100;

/// What is asked for. Each SKU once, which the edge checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The article.
    pub sku: Sku,
    /// Units.
    pub quantity: Quantity,
    /// What the caller is ready to pay per unit; `None` takes any price.
    pub expected_unit_price: Option<Money>,
}

/// The lines at today's prices.
///
/// # Errors
/// The first line that cannot be served. The caller's mistakes (SKU, price) come before what may pass (missing stock).
pub fn decide_reserve(lines: &[Line], items: &BTreeMap<Sku, Item>) -> Result<Vec<PricedLine>, Rejection> {
    let item = |line: &Line| items.get(&line.sku).ok_or_else(|| Rejection::UnknownSku { sku: line.sku.clone() });
    for line in lines {
        let actual = item(line)?.unit_price;
        if let Some(expected) = line.expected_unit_price.filter(|expected| *expected != actual) {
            return Err(Rejection::PriceMismatch { sku: line.sku.clone(), expected, actual });
        }
    }
    for line in lines {
        let stock = item(line)?.stock;
        if !stock.covers(line.quantity) {
            let (requested, available) = (line.quantity.units(), stock.available());
            return Err(Rejection::InsufficientStock { sku: line.sku.clone(), requested, available });
        }
    }
    // From here on the goods are there: what follows is copying.
    lines
        .iter()
        .map(|line| {
            Ok(PricedLine { sku: line.sku.clone(), quantity: line.quantity, unit_price: item(line)?.unit_price })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use amends_primitives::Currency;

    use super::*;
    use crate::domain::Stock;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR)
    }

    fn shop() -> BTreeMap<Sku, Item> {
        [("tea", 500, 10, 4), ("mug", 900, 1, 1)]
            .into_iter()
            .map(|(sku, minor, on_hand, reserved)| {
                let sku: Sku = sku.parse().unwrap();
                let stock = Stock::try_new(on_hand, reserved).unwrap();
                (sku.clone(), Item { sku, name: "x".into(), unit_price: eur(minor), stock })
            })
            .collect()
    }

    fn line(sku: &str, units: u32, expected: Option<Money>) -> Line {
        Line { sku: sku.parse().unwrap(), quantity: Quantity::try_new(units).unwrap(), expected_unit_price: expected }
    }

    fn refusal(lines: &[Line]) -> String {
        decide_reserve(lines, &shop()).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_priced_in_the_order_asked() {
        let priced = decide_reserve(&[line("tea", 6, Some(eur(500)))], &shop()).unwrap();
        assert_eq!((priced[0].sku.as_str(), priced[0].unit_price), ("tea", eur(500)));
    }

    #[test]
    fn one_line_refuses_all_and_is_named() {
        assert_eq!(refusal(&[line("tea", 1, None), line("gin", 1, None)]), "there is no item gin");
        assert_eq!(refusal(&[line("tea", 7, None)]), "6 of tea are available, 7 were asked for");
        assert_eq!(refusal(&[line("tea", 1, None), line("mug", 1, None)]), "0 of mug are available, 1 were asked for");
        assert_eq!(refusal(&[line("tea", 1, Some(eur(499)))]), "tea costs 5.00 EUR, not 4.99 EUR");
        let dollars = Money::new(500, Currency::USD);
        assert_eq!(refusal(&[line("tea", 1, Some(dollars))]), "tea costs 5.00 EUR, not 5.00 USD");
    }

    #[test]
    fn a_wrong_price_is_told_before_missing_stock() {
        assert!(refusal(&[line("mug", 1, None), line("tea", 1, Some(eur(1)))]).starts_with("tea costs"));
    }
}
