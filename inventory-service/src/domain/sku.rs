//! The words of a line: which goods, and how many.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Long enough for any catalogue we saw, short enough for an index and a log line.
const SKU_LENGTH_MAX: usize = 64;

/// More of one article is a mistake, or a different kind of business.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// The name of an article: 1 to 64 ASCII letters, digits and `-_.:/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sku(String);

/// The text is no SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SKU has 1 to 64 characters: ASCII letters, digits and -_.:/")]
pub struct InvalidSku;

impl FromStr for Sku {
    type Err = InvalidSku;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if (1..=SKU_LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSku)
        }
    }
}

impl TryFrom<String> for Sku {
    type Error = InvalidSku;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sku> for String {
    fn from(sku: Sku) -> Self {
        sku.0
    }
}

amends_primitives::as_text!(Sku);

/// How many units: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u32);

impl Quantity {
    /// `None` when `units` is zero or above [`QUANTITY_MAX`].
    pub const fn try_new(units: u32) -> Option<Self> {
        if units == 0 || units > QUANTITY_MAX { None } else { Some(Self(units)) }
    }

    /// The number of units.
    pub const fn units(self) -> u32 {
        self.0
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> Self {
        Self::from(quantity.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_is_short_plain_ascii() {
        for good in ["a", "espresso-1kg", "A_1.b:c/d", &"x".repeat(64)] {
            let sku = good.parse::<Sku>().unwrap();
            assert_eq!(
                (sku.as_str(), sku.to_string().as_str(), String::from(sku.clone()).as_str()),
                (good, good, good)
            );
            assert_eq!(Sku::try_from(good.to_owned()), Ok(sku));
        }
        for bad in ["", " ", "a b", "a\0b", "naïve", "a'b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Sku>(), Err(InvalidSku), "{bad:?}");
        }
    }

    #[test]
    fn a_quantity_is_bounded() {
        assert_eq!(Quantity::try_new(0), None);
        assert_eq!(Quantity::try_new(QUANTITY_MAX).map(Quantity::units), Some(QUANTITY_MAX));
        assert_eq!(Quantity::try_new(QUANTITY_MAX + 1), None);
        assert_eq!(i64::from(Quantity::try_new(7).unwrap()), 7);
    }
}
