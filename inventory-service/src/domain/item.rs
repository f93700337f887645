//! An article of the catalogue, and the arithmetic of its stock: `0 <= reserved <= on_hand`, always.

use amends_primitives::Money;

use super::{Quantity, Sku};

/// More units of one article than any warehouse holds; far from where 64-bit sums could overflow.
pub const ON_HAND_MAX: i64 = 1_000_000_000_000;

const NAME_LENGTH_MAX: usize = 200;

/// An article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name in every contract.
    pub sku: Sku,
    /// For people.
    pub name: String,
    /// What one unit costs.
    pub unit_price: Money,
    /// How many there are.
    pub stock: Stock,
}

/// An article to be created or changed: checked by [`NewItem::try_new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    sku: Sku,
    name: String,
    unit_price: Money,
    on_hand: i64,
}

/// Which field of an article is wrong. The names are those of the contract and of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Missing, too long, or with control characters.
    #[error("a name has 1 to 200 characters and no control characters")]
    Name,
    /// Zero or below.
    #[error("a price is above zero")]
    UnitPrice,
    /// Below zero or beyond [`ON_HAND_MAX`].
    #[error("stock on hand is between 0 and 1000000000000")]
    OnHand,
}

impl NewItem {
    /// An article with a printable name, a price above zero and a sane number of units.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn try_new(sku: Sku, name: String, unit_price: Money, on_hand: i64) -> Result<Self, ItemError> {
        let length = name.chars().count();
        if name.trim().is_empty() || length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
            return Err(ItemError::Name);
        }
        if !unit_price.is_positive() {
            return Err(ItemError::UnitPrice);
        }
        if !(0..=ON_HAND_MAX).contains(&on_hand) {
            return Err(ItemError::OnHand);
        }
        Ok(Self { sku, name, unit_price, on_hand })
    }

    /// Its name in every contract.
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What one unit costs.
    pub const fn unit_price(&self) -> Money {
        self.unit_price
    }

    /// Units in the warehouse, held ones included.
    pub const fn on_hand(&self) -> i64 {
        self.on_hand
    }
}

/// The units of one article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    on_hand: i64,
    reserved: i64,
}

impl Stock {
    /// `None` when more is reserved than there is, or a number is below zero: such a row must not have been stored.
    pub const fn try_new(on_hand: i64, reserved: i64) -> Option<Self> {
        if 0 <= reserved && reserved <= on_hand { Some(Self { on_hand, reserved }) } else { None }
    }

    /// Units in the warehouse, held ones included.
    pub const fn on_hand(self) -> i64 {
        self.on_hand
    }

    /// Units that open reservations hold.
    pub const fn reserved(self) -> i64 {
        self.reserved
    }

    /// Units that can be reserved now.
    pub const fn available(self) -> i64 {
        self.on_hand - self.reserved
    }

    /// Whether `quantity` can be reserved now.
    pub fn covers(self, quantity: Quantity) -> bool {
        self.available() >= i64::from(quantity)
    }
}

#[cfg(test)]
mod tests {
    use amends_primitives::Currency;

    use super::*;

    #[test]
    fn stock_never_holds_more_than_there_is() {
        assert_eq!(Stock::try_new(5, 2).unwrap().available(), 3);
        for (on_hand, reserved) in [(0, 0), (5, 2), (5, 5)] {
            let stock = Stock::try_new(on_hand, reserved).unwrap();
            assert_eq!((stock.on_hand(), stock.reserved(), stock.available()), (on_hand, reserved, on_hand - reserved));
        }
        for (on_hand, reserved) in [(-1, 0), (0, -1), (1, 2), (-1, -2)] {
            assert_eq!(Stock::try_new(on_hand, reserved), None);
        }
        let (two, three, four) = (Stock::try_new(5, 2).unwrap(), Quantity::try_new(3), Quantity::try_new(4));
        assert!(two.covers(three.unwrap()) && !two.covers(four.unwrap()));
    }

    #[test]
    fn an_item_names_its_wrong_field() {
        let item = |name: &str, minor, on_hand| {
            NewItem::try_new("tea".parse().unwrap(), name.to_owned(), Money::new(minor, Currency::EUR), on_hand)
        };
        let tea = item("Tea", 350, 9).unwrap();
        assert_eq!((tea.sku().as_str(), tea.name(), tea.on_hand()), ("tea", "Tea", 9));
        assert_eq!(tea.unit_price(), Money::new(350, Currency::EUR));
        for (name, minor, on_hand) in [("T", 1, 0), (&"\u{e9}".repeat(200), i64::MAX, ON_HAND_MAX)] {
            assert!(item(name, minor, on_hand).is_ok(), "{name}");
        }
        for name in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert_eq!(item(name, 1, 0), Err(ItemError::Name));
        }
        assert_eq!([0, -1].map(|minor| item("Tea", minor, 0)), [Err(ItemError::UnitPrice), Err(ItemError::UnitPrice)]);
        assert_eq!(item("Tea", 1, -1), Err(ItemError::OnHand));
        assert_eq!(item("Tea", 1, ON_HAND_MAX + 1), Err(ItemError::OnHand));
    }
}
