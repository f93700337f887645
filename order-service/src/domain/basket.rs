//! What a customer asks for, and what it costs. All whole-list rules are here, so that REST and gRPC cannot differ.

use std::collections::{HashMap, HashSet};

use amends_primitives::{Money, MoneyError};
use serde::{Deserialize, Serialize};

use super::{LINES_PER_ORDER_MAX, Quantity, Sku};

/// One article asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLine {
    /// Which article.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// The price the customer saw. Given, the catalogue must agree.
    pub unit_price: Option<Money>,
}

/// One article at the price it is sold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which article.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// The price of one.
    pub unit_price: Money,
}

/// What the catalogue says of one article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueItem {
    /// Which article.
    pub sku: Sku,
    /// What people call it.
    pub name: String,
    /// The price of one.
    pub unit_price: Money,
    /// How many can be reserved now.
    pub available: i64,
    /// How many open reservations hold.
    pub reserved: i64,
}

/// What is wrong with one line, by its index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Another line names the same article.
    #[error("the same sku is in an earlier line; add the quantities up")]
    DuplicateSku,
    /// An amount below zero.
    #[error("the price may not be below zero")]
    NegativePrice,
}

/// Why the lines are no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BasketProblem {
    /// Nothing is asked for.
    #[error("an order has at least one item")]
    Empty,
    /// Too much is asked for at once.
    #[error("an order has at most {LINES_PER_ORDER_MAX} items")]
    TooManyLines,
    /// Lines that are wrong, each by its index.
    #[error("{} of the items are wrong", .0.len())]
    Lines(Vec<(usize, LineProblem)>),
    /// The prices are not all in one currency; the index is of the first that differs.
    #[error("all prices of an order must be in one currency")]
    MixedCurrencies(usize),
    /// The sum does not fit; the index is of the line where it stopped fitting.
    #[error("the order's total is too large")]
    TotalOverflow(usize),
}

/// Why lines could not be priced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricingProblem {
    /// The catalogue does not have these lines' articles.
    #[error("the catalogue does not have these items")]
    UnknownSkus(Vec<usize>),
    /// The priced lines break a rule.
    #[error(transparent)]
    Basket(#[from] BasketProblem),
}

/// Lines that obey every rule that can be checked without the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Basket(Vec<NewLine>);

impl Basket {
    /// Checks the lines.
    ///
    /// # Errors
    /// The first rule broken; for rules about single lines, all lines that break one.
    pub fn try_new(lines: Vec<NewLine>) -> Result<Self, BasketProblem> {
        if lines.is_empty() {
            return Err(BasketProblem::Empty);
        }
        if lines.len() > LINES_PER_ORDER_MAX {
            return Err(BasketProblem::TooManyLines);
        }
        let mut seen = HashSet::new();
        let mut problems = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if !seen.insert(&line.sku) {
                problems.push((index, LineProblem::DuplicateSku));
            }
            if line.unit_price.is_some_and(|price| price.amount_minor() < 0) {
                problems.push((index, LineProblem::NegativePrice));
            }
        }
        if !problems.is_empty() {
            return Err(BasketProblem::Lines(problems));
        }
        // A wrong sum of the prices given is wrong whatever the catalogue says, so it is refused before asking it.
        let given = lines.iter().enumerate().filter_map(|(index, line)| Some((index, line.unit_price?, line.quantity)));
        total(given)?;
        Ok(Self(lines))
    }

    /// The lines.
    pub fn lines(&self) -> &[NewLine] {
        &self.0
    }

    /// Prices the lines: with the price the customer saw where one was given, else with the catalogue's. A price that differs from
    /// the catalogue's is not refused here but by the reservation, whose answer is binding and leaves an order behind to look at.
    ///
    /// # Errors
    /// Unknown articles, several currencies, or a total that does not fit.
    pub fn priced(self, catalogue: &HashMap<Sku, CatalogueItem>) -> Result<(Vec<Line>, Money), PricingProblem> {
        let unknown: Vec<usize> =
            (0..self.0.len()).filter(|&index| !catalogue.contains_key(&self.0[index].sku)).collect();
        if !unknown.is_empty() {
            return Err(PricingProblem::UnknownSkus(unknown));
        }
        let lines: Vec<Line> = self
            .0
            .into_iter()
            .filter_map(|line| {
                let unit_price = line.unit_price.or_else(|| catalogue.get(&line.sku).map(|item| item.unit_price))?;
                Some(Line { sku: line.sku, quantity: line.quantity, unit_price })
            })
            .collect();
        let total = Line::total(&lines)?;
        Ok((lines, total))
    }
}

impl Line {
    /// The total of priced lines.
    ///
    /// # Errors
    /// No lines, several currencies, or a total that does not fit.
    pub fn total(lines: &[Self]) -> Result<Money, BasketProblem> {
        total(lines.iter().enumerate().map(|(index, line)| (index, line.unit_price, line.quantity)))?
            .ok_or(BasketProblem::Empty)
    }
}

fn total(prices: impl Iterator<Item = (usize, Money, Quantity)>) -> Result<Option<Money>, BasketProblem> {
    let mut sum: Option<Money> = None;
    for (index, unit_price, quantity) in prices {
        let problem = |error| match error {
            MoneyError::Overflow => BasketProblem::TotalOverflow(index),
            MoneyError::CurrencyMismatch(..) => BasketProblem::MixedCurrencies(index),
        };
        let before = sum.unwrap_or(Money::zero(unit_price.currency()));
        if before.currency() != unit_price.currency() {
            return Err(BasketProblem::MixedCurrencies(index));
        }
        let line = unit_price.checked_mul(quantity.get()).map_err(problem)?;
        sum = Some(before.checked_add(line).map_err(problem)?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use amends_primitives::Currency;

    use super::*;

    fn line(sku: &str, quantity: i64, price: Option<(i64, &str)>) -> NewLine {
        NewLine {
            sku: Sku::try_new(sku).unwrap(),
            quantity: Quantity::try_new(quantity).unwrap(),
            unit_price: price.map(|(amount, currency)| Money::new(amount, currency.parse().unwrap())),
        }
    }

    fn catalogue(prices: &[(&str, i64, &str)]) -> HashMap<Sku, CatalogueItem> {
        prices
            .iter()
            .map(|(sku, amount, currency)| {
                let sku = Sku::try_new(*sku).unwrap();
                let unit_price = Money::new(*amount, currency.parse().unwrap());
                (sku.clone(), CatalogueItem { sku, name: String::new(), unit_price, available: 0, reserved: 0 })
            })
            .collect()
    }

    #[test]
    fn whole_list_rules() {
        use BasketProblem as P;
        let check =
            |lines: Vec<NewLine>, expected: Result<(), P>| assert_eq!(Basket::try_new(lines).map(|_| ()), expected);
        check(vec![], Err(P::Empty));
        check((0..101).map(|n| line(&format!("s{n}"), 1, None)).collect(), Err(P::TooManyLines));
        check((0..100).map(|n| line(&format!("s{n}"), 1, None)).collect(), Ok(()));
        check(
            vec![line("a", 1, None), line("b", 1, Some((-1, "EUR"))), line("a", 2, None)],
            Err(P::Lines(vec![(1, LineProblem::NegativePrice), (2, LineProblem::DuplicateSku)])),
        );
        check(
            vec![line("a", 1, Some((1, "EUR"))), line("b", 1, None), line("c", 1, Some((1, "USD")))],
            Err(P::MixedCurrencies(2)),
        );
        check(vec![line("a", 1, Some((0, "EUR")))], Ok(()));
        check(vec![line("a", 1_000_000, Some((i64::MAX / 10, "EUR")))], Err(P::TotalOverflow(0)));
        check(vec![line("a", 1, Some((i64::MAX, "EUR"))), line("b", 1, Some((1, "EUR")))], Err(P::TotalOverflow(1)));
    }

    #[test]
    fn lines_take_the_price_seen_else_the_catalogues() {
        let prices = catalogue(&[("a", 100, "EUR"), ("b", 7, "EUR")]);
        let asked = vec![line("a", 2, Some((99, "EUR"))), line("b", 3, None)];
        let basket = Basket::try_new(asked.clone()).unwrap();
        assert_eq!(basket.lines(), asked);
        let (lines, total) = basket.priced(&prices).unwrap();
        assert_eq!(total, Money::new(2 * 99 + 3 * 7, Currency::EUR));
        assert_eq!(lines[1].unit_price, Money::new(7, Currency::EUR));
    }

    #[test]
    fn what_the_catalogue_does_not_have_is_named() {
        let prices = catalogue(&[("a", 100, "EUR")]);
        let basket = Basket::try_new(vec![line("x", 1, None), line("a", 1, None), line("y", 1, None)]).unwrap();
        assert_eq!(basket.priced(&prices), Err(PricingProblem::UnknownSkus(vec![0, 2])));
    }

    #[test]
    fn the_catalogue_may_mix_currencies_but_an_order_may_not() {
        let prices = catalogue(&[("a", 100, "EUR"), ("b", 100, "USD")]);
        let basket = Basket::try_new(vec![line("a", 1, None), line("b", 1, None)]).unwrap();
        assert_eq!(basket.priced(&prices), Err(PricingProblem::Basket(BasketProblem::MixedCurrencies(1))));
    }
}
