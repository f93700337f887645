//! Step keys and fingerprints: which effect is asked for, and what exactly was asked.
//!
//! Must not know: how they travel.

use std::{fmt, str::FromStr};

use amends_primitives::SagaId;

/// Longer step names would only bloat every document and index that holds the key.
pub const STEP_NAME_LEN_MAX: usize = 64;

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The saga id is not a UUID in canonical form.
    #[error("must be a UUID such as 0198c0de-0000-7000-8000-000000000000")]
    SagaId,
    /// The step is not a name.
    #[error("must be 1 to 64 characters of [a-z0-9_-]")]
    Step,
    /// The fingerprint is not a SHA-256.
    #[error("must be 32 bytes (SHA-256)")]
    Fingerprint,
    /// The text is not `saga/step`.
    #[error("must be a saga id, a slash and a step name")]
    Shape,
}

/// Names one step of one saga, and so one effect. As text: `saga/step`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey {
    saga_id: SagaId,
    step: Box<str>,
}

impl StepKey {
    /// A key of a saga and one of its steps.
    ///
    /// # Errors
    /// When the step is not a name of [`STEP_NAME_LEN_MAX`] characters at the most.
    pub fn try_new(saga_id: SagaId, step: &str) -> Result<Self, InvalidKey> {
        let in_alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if step.is_empty() || step.len() > STEP_NAME_LEN_MAX || !step.bytes().all(in_alphabet) {
            return Err(InvalidKey::Step);
        }
        Ok(Self { saga_id, step: step.into() })
    }

    /// The saga.
    pub const fn saga_id(&self) -> SagaId {
        self.saga_id
    }

    /// The step's name within the saga's definition.
    pub fn step(&self) -> &str {
        &self.step
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.saga_id, self.step)
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StepKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (saga_id, step) = text.split_once('/').ok_or(InvalidKey::Shape)?;
        Self::try_new(saga_id.parse().map_err(|_| InvalidKey::SagaId)?, step)
    }
}

/// SHA-256 over what the caller asks for. As text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Wraps a digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl TryFrom<&[u8]> for Fingerprint {
    type Error = InvalidKey;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| InvalidKey::Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(InvalidKey::Fingerprint);
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            let pair = text.get(2 * index..2 * index + 2).ok_or(InvalidKey::Fingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidKey::Fingerprint)?;
        }
        Ok(Self(digest))
    }
}

/// Names one refund. A caller's refund has the caller's step key; the refund that compensates a charge has the charge's key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RefundKey {
    /// Asked for by `Refund`.
    Step(StepKey),
    /// Made by compensating the charge with this key. There is one at the most: once the barrier is closed no other refund
    /// begins, so it takes all that is left.
    Undo(StepKey),
}

impl fmt::Display for RefundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(key) => fmt::Display::fmt(key, f),
            Self::Undo(key) => write!(f, "undo:{key}"),
        }
    }
}

impl fmt::Debug for RefundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RefundKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("undo:") {
            Some(charge) => charge.parse().map(Self::Undo),
            None => text.parse().map(Self::Step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_fingerprints_survive_being_written_down() {
        let text = "0198c0de-0000-7000-8000-000000000001/charge_payment";
        assert_eq!(text.parse::<StepKey>().unwrap().to_string(), text);
        for key in [text.to_owned(), format!("undo:{text}")] {
            assert_eq!(key.parse::<RefundKey>().unwrap().to_string(), key);
        }
        let fingerprint = Fingerprint::new([0xA7; 32]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_not_a_key_says_what_one_is() {
        let saga = "0198c0de-0000-7000-8000-000000000001";
        for (bad, error) in [
            ("no slash".to_owned(), InvalidKey::Shape),
            ("x/charge".to_owned(), InvalidKey::SagaId),
            (format!("{saga}/"), InvalidKey::Step),
            (format!("{saga}/Charge"), InvalidKey::Step),
            (format!("{saga}/a/b"), InvalidKey::Step),
            (format!("{saga}/{}", "a".repeat(65)), InvalidKey::Step),
        ] {
            assert_eq!(bad.parse::<StepKey>(), Err(error), "{bad}");
        }
        for bad in ["", "00", &"é".repeat(32), &"+f".repeat(32)[..63]] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidKey::Fingerprint), "{bad}");
        }
        assert_eq!(Fingerprint::try_from([0_u8; 31].as_slice()), Err(InvalidKey::Fingerprint));
    }
}
