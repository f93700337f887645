//! Small texts that are checked once, at the edge.
//!
//! Must not know: how they travel.

/// Longer keys would only bloat the ledger and its index.
pub const KEY_LEN_MAX: usize = 255;
/// A token for a payment method, never card data.
pub const METHOD_LEN_MAX: usize = 64;

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not an idempotency key.
    #[error("must be 1 to 255 visible ASCII characters")]
    Key,
    /// Not a payment method.
    #[error("must be 1 to 64 characters of [A-Za-z0-9_-]")]
    Method,
}

/// The merchant's idempotency key: one key, one effect. What it means is the merchant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is not 1 to [`KEY_LEN_MAX`] visible ASCII characters.
    pub fn try_new(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(InvalidValue::Key) }
    }
}

/// A token that stands for a payment method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Method(Box<str>);

impl Method {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is not 1 to [`METHOD_LEN_MAX`] characters of `[A-Za-z0-9_-]`.
    pub fn try_new(text: &str) -> Result<Self, InvalidValue> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=METHOD_LEN_MAX).contains(&text.len()) && text.bytes().all(in_alphabet);
        if fits { Ok(Self(text.into())) } else { Err(InvalidValue::Method) }
    }
}

amends_primitives::as_text!(Key, Method);
