//! Small texts that are checked once, at the edge.
//!
//! Must not know: how they travel.

/// As long as a token's subject may be.
pub const CUSTOMER_ID_LEN_MAX: usize = 128;
/// A processor's token, never card data.
pub const PAYMENT_METHOD_LEN_MAX: usize = 64;

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not a customer id.
    #[error("must be 1 to 128 characters without control characters")]
    CustomerId,
    /// Not a payment method.
    #[error("must be 1 to 64 characters of [A-Za-z0-9_-]")]
    PaymentMethod,
}

/// Whose payment it is: the subject of the customer's token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomerId(Box<str>);

impl CustomerId {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is empty, longer than [`CUSTOMER_ID_LEN_MAX`] characters, or holds control characters.
    pub fn try_new(text: &str) -> Result<Self, InvalidValue> {
        let chars = text.chars().count();
        if chars == 0 || chars > CUSTOMER_ID_LEN_MAX || text.chars().any(char::is_control) {
            return Err(InvalidValue::CustomerId);
        }
        Ok(Self(text.into()))
    }
}

/// A processor's token for a payment method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PaymentMethod(Box<str>);

impl PaymentMethod {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is not 1 to [`PAYMENT_METHOD_LEN_MAX`] characters of `[A-Za-z0-9_-]`.
    pub fn try_new(text: &str) -> Result<Self, InvalidValue> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > PAYMENT_METHOD_LEN_MAX || !text.bytes().all(in_alphabet) {
            return Err(InvalidValue::PaymentMethod);
        }
        Ok(Self(text.into()))
    }
}

/// What the processor calls what it did: for the merchant's statement and for support.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(Box<str>);

impl Receipt {
    /// Wraps the processor's reference.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
}

amends_primitives::as_text!(CustomerId, PaymentMethod, Receipt);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_at_the_edge() {
        for good in ["pm_ok-1", &"a".repeat(64)] {
            assert_eq!(PaymentMethod::try_new(good).unwrap().as_str(), good);
        }
        for bad in ["", "pm ok", "pm\u{e9}", &"a".repeat(65), "4111 1111"] {
            assert_eq!(PaymentMethod::try_new(bad), Err(InvalidValue::PaymentMethod), "{bad}");
        }
        for good in ["жанна@example", &"ж".repeat(128)] {
            assert_eq!(CustomerId::try_new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "\u{0}", &"a".repeat(129)] {
            assert_eq!(CustomerId::try_new(bad), Err(InvalidValue::CustomerId), "{bad}");
        }
        assert_eq!(Receipt::new("r-1").as_str(), "r-1");
    }
}
