//! The small words of an order: what a SKU, a quantity, a payment method and a customer look like. Parsed once, at the edge.

use serde::{Deserialize, Serialize};

use super::QUANTITY_MAX;

/// The text does not have the form of the word it should be. The sentence is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWord(pub &'static str);

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, max $max:literal, $allowed:expr, $sentence:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text.
            ///
            /// # Errors
            /// When the text is empty, too long, or has a character that does not belong.
            pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidWord> {
                let text = text.into();
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=$max).contains(&text.len()) && text.bytes().all(allowed) { Ok(Self(text)) } else { Err(InvalidWord($sentence)) }
            }
        }

        amends_primitives::as_text!($name);

        impl TryFrom<String> for $name {
            type Error = InvalidWord;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::try_new(text)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.0
            }
        }
    };
}

word!(
    /// A stock keeping unit: the name of an article in the catalogue.
    Sku, max 64, |byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte),
    "must be 1 to 64 ASCII letters, digits and '-', '_', '.', ':', '/'"
);
word!(
    /// The processor's token for a way to pay; never card data.
    PaymentMethod, max 64, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte),
    "must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
);
word!(
    /// Who ordered: the subject of the caller's token, never the body's word for it.
    CustomerId, max 255, |byte| byte.is_ascii_graphic(),
    "must be 1 to 255 visible ASCII characters"
);

/// How many of one article: 1 to [`QUANTITY_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Quantity(u32);

impl Quantity {
    /// Parses the number.
    ///
    /// # Errors
    /// When the number is not within 1 to [`QUANTITY_MAX`].
    pub fn try_new(number: i64) -> Result<Self, InvalidWord> {
        match u32::try_from(number) {
            Ok(quantity @ 1..=QUANTITY_MAX) => Ok(Self(quantity)),
            _ => Err(InvalidWord("must be a whole number from 1 to 1000000")),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Quantity {
    type Error = InvalidWord;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        Self::try_new(number)
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
    fn quantities_have_both_bounds() {
        for good in [1, 2, 1_000_000] {
            assert_eq!(i64::from(Quantity::try_new(good).unwrap()), good);
        }
        for bad in [0, -1, 1_000_001, i64::MAX, i64::MIN] {
            assert!(Quantity::try_new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_have_a_length_and_an_alphabet() {
        assert!(Sku::try_new("espresso-1kg").is_ok() && PaymentMethod::try_new("pm_ok").is_ok());
        let long = "x".repeat(65);
        for bad in ["", "a b", "é", "a\0", "a?b", long.as_str()] {
            assert!(Sku::try_new(bad).is_err() && PaymentMethod::try_new(bad).is_err(), "{bad:?}");
        }
        assert!(CustomerId::try_new("service:order|7").is_ok() && CustomerId::try_new("a\nb").is_err());
    }

    #[test]
    fn every_word_is_read_back_as_it_was_written() {
        for (length, customer) in [(1, true), (64, true), (65, true), (255, true), (256, false)] {
            let text = "x".repeat(length);
            assert_eq!(Sku::try_new(text.as_str()).is_ok(), length <= 64);
            assert_eq!(PaymentMethod::try_new(text.as_str()).is_ok(), length <= 64);
            assert_eq!(CustomerId::try_new(text.as_str()).is_ok(), customer);
        }
        for text in ["tea", "A_1-.:/z"] {
            let sku = Sku::try_new(text).unwrap();
            assert_eq!((sku.as_str(), sku.to_string(), String::from(sku.clone())), (text, text.into(), text.into()));
        }
        for (text, good) in [("pm_ok-1", true), ("pm.ok", false), ("pm/ok", false)] {
            assert_eq!(PaymentMethod::try_new(text).is_ok_and(|method| method.to_string() == text), good, "{text}");
        }
        for (text, good) in [("ann:b|c", true), ("a b", false), ("", false)] {
            assert_eq!(CustomerId::try_new(text).is_ok_and(|customer| customer.as_str() == text), good, "{text:?}");
        }
        assert_eq!((Quantity::try_new(7).unwrap().get(), Quantity::try_from(7)), (7, Quantity::try_new(7)));
    }

    #[test]
    fn what_is_stored_is_parsed_as_strictly_as_what_is_sent() {
        assert!(serde_json::from_str::<Quantity>("0").is_err());
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
        assert_eq!(serde_json::to_string(&Sku::try_new("a").unwrap()).unwrap(), "\"a\"");
    }
}
