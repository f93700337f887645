//! Amounts of money in integer minor units. No floating point, no silent overflow, no mixing of currencies.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Currency;

/// An amount in the minor unit of its currency (cents for EUR, yen for JPY).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    amount_minor: i64,
    currency: Currency,
}

/// Why two amounts could not be combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits.
    #[error("the amount is too large")]
    Overflow,
    /// Amounts of different currencies cannot be combined.
    #[error("the currencies differ: {0} and {1}")]
    CurrencyMismatch(Currency, Currency),
}

impl Money {
    /// `amount_minor` in the currency's minor unit.
    pub const fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units.
    pub const fn amount_minor(&self) -> i64 {
        self.amount_minor
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether the amount is above zero.
    pub const fn is_positive(&self) -> bool {
        self.amount_minor > 0
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference, which may be below zero.
    ///
    /// # Errors
    /// When the currencies differ or the difference does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// The amount times a quantity.
    ///
    /// # Errors
    /// When the product does not fit.
    pub fn checked_mul(self, quantity: u32) -> Result<Self, MoneyError> {
        let amount_minor = self.amount_minor.checked_mul(i64::from(quantity)).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount_minor, ..self })
    }

    fn combine(self, other: Self, with: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, other.currency));
        }
        let amount_minor = with(self.amount_minor, other.amount_minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount_minor, ..self })
    }
}

/// For people: `37.00 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.minor_digits());
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let plain = format!("{:0>width$}", self.amount_minor.unsigned_abs(), width = digits + 1);
        let (major, minor) = plain.split_at(plain.len() - digits);
        let point = if digits == 0 { "" } else { "." };
        write!(f, "{sign}{major}{point}{minor} {}", self.currency)
    }
}

crate::debug_as_displayed!(Money);

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::EUR)
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(eur(1).checked_add(eur(2)), Ok(eur(3)));
        assert_eq!(eur(1).checked_sub(eur(2)), Ok(eur(-1)));
        assert_eq!(eur(1850).checked_mul(2), Ok(eur(3700)));
        assert_eq!(eur(i64::MAX).checked_add(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MIN).checked_sub(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MAX).checked_mul(2), Err(MoneyError::Overflow));
    }

    #[test]
    fn an_amount_is_told_as_it_was_given() {
        for amount in [i64::MIN, -2, 0, 37] {
            assert_eq!((eur(amount).amount_minor(), eur(amount).currency()), (amount, Currency::EUR));
        }
        assert_eq!(Money::new(5, Currency::USD).currency(), Currency::USD);
    }

    #[test]
    fn currencies_do_not_mix() {
        let dollars = Money::new(1, Currency::USD);
        assert_eq!(eur(1).checked_add(dollars), Err(MoneyError::CurrencyMismatch(Currency::EUR, Currency::USD)));
    }

    #[test]
    fn only_more_than_nothing_is_positive() {
        assert_eq!(
            [i64::MIN, -1, 0, 1, i64::MAX].map(|amount| eur(amount).is_positive()),
            [false, false, false, true, true]
        );
        assert_eq!(Money::zero(Currency::EUR), eur(0));
    }

    #[test]
    fn people_read_major_units() {
        let show = |amount, code: &str| Money::new(amount, code.parse().unwrap()).to_string();
        assert_eq!(show(3700, "EUR"), "37.00 EUR");
        assert_eq!(show(-5, "EUR"), "-0.05 EUR");
        assert_eq!((show(0, "EUR"), format!("{:?}", eur(1850))), ("0.00 EUR".to_owned(), "18.50 EUR".to_owned()));
        assert_eq!(show(1200, "JPY"), "1200 JPY");
        assert_eq!(show(1, "KWD"), "0.001 KWD");
        assert_eq!(show(i64::MIN, "EUR"), "-92233720368547758.08 EUR");
    }
}
