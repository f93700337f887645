//! Step keys and fingerprints: which effect is asked for, and what exactly was asked. Engine and participants have one grammar for them.
//!
//! Must not know: how they travel, and what is asked for.

use std::{borrow::Cow, fmt, str::FromStr};

use crate::SagaId;

/// Longer step names would only bloat every row, document and index that holds the key.
pub const STEP_NAME_LEN_MAX: usize = 100;

/// Why a text is not a step key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStepKey {
    /// The saga id is not a UUID in canonical form.
    #[error("must be a UUID such as 0198c0de-0000-7000-8000-000000000000")]
    SagaId,
    /// The step is not a name.
    #[error("must be 1 to {STEP_NAME_LEN_MAX} characters of [a-z0-9_-]")]
    Step,
    /// The text is not `saga/step`.
    #[error("must be a saga id, a slash and a step name")]
    Shape,
}

/// Names one step of one saga, for ever: a participant answers the same key with the same answer. Actions and their compensations carry
/// the same key. As text: `<saga id>/<step>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey {
    saga_id: SagaId,
    step: Cow<'static, str>,
}

impl StepKey {
    /// The key of a step whose name [`is_step_name`](Self::is_step_name), as a saga's definition has checked.
    pub const fn of_definition(saga_id: SagaId, step: &'static str) -> Self {
        Self { saga_id, step: Cow::Borrowed(step) }
    }

    /// The key of a saga and one of its steps.
    ///
    /// # Errors
    /// [`InvalidStepKey::Step`], when the step is not a name.
    pub fn try_new(saga_id: SagaId, step: &str) -> Result<Self, InvalidStepKey> {
        let name = || Self { saga_id, step: Cow::Owned(step.to_owned()) };
        Self::is_step_name(step).then(name).ok_or(InvalidStepKey::Step)
    }

    /// From the parts that a request carries.
    ///
    /// # Errors
    /// The first part that is malformed.
    pub fn parse(saga_id: &str, step: &str) -> Result<Self, InvalidStepKey> {
        Self::try_new(saga_id.parse().map_err(|_| InvalidStepKey::SagaId)?, step)
    }

    /// Whether the text can name a step: 1 to [`STEP_NAME_LEN_MAX`] of `a-z`, `0-9`, `_` and `-`.
    pub fn is_step_name(text: &str) -> bool {
        let in_alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        (1..=STEP_NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(in_alphabet)
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

crate::debug_as_displayed!(StepKey);

impl FromStr for StepKey {
    type Err = InvalidStepKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (saga_id, step) = text.split_once('/').ok_or(InvalidStepKey::Shape)?;
        Self::parse(saga_id, step)
    }
}

/// The bytes or the text are no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 bytes (SHA-256)")]
pub struct InvalidFingerprint;

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
    type Error = InvalidFingerprint;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

crate::debug_as_displayed!(Fingerprint);

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        // `from_str_radix` would take `+f` for a byte.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidFingerprint);
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            let pair = text.get(2 * index..2 * index + 2).ok_or(InvalidFingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidFingerprint)?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const SAGA: &str = "0198c0de-0000-7000-8000-000000000001";

    proptest! {
        #[test]
        fn key_survives_being_written_down(saga: u128, step in "[a-z0-9_-]{1,100}") {
            let key = StepKey::try_new(SagaId::new(Uuid::from_u128(saga)), &step).unwrap();
            prop_assert_eq!(key.to_string().parse::<StepKey>(), Ok(key.clone()));
            prop_assert_eq!(StepKey::parse(&key.saga_id().to_string(), key.step()), Ok(key));
        }

        #[test]
        fn text_that_is_a_key_has_no_other_spelling(text in "[0-9a-f-]{36}/[a-zA-Z0-9_/ -]{0,101}|\\PC*") {
            if let Ok(key) = text.parse::<StepKey>() {
                prop_assert_eq!(key.to_string(), text.to_lowercase());
                prop_assert!(StepKey::is_step_name(key.step()));
            }
        }

        #[test]
        fn fingerprint_survives_being_written_down(digest: [u8; 32]) {
            let fingerprint = Fingerprint::new(digest);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            prop_assert_eq!(Fingerprint::try_from(digest.as_slice()), Ok(fingerprint));
        }
    }

    #[test]
    fn what_is_not_a_key_says_what_one_is() {
        for (bad, error) in [
            ("no slash".to_owned(), InvalidStepKey::Shape),
            ("x/charge".to_owned(), InvalidStepKey::SagaId),
            (format!("{SAGA}/"), InvalidStepKey::Step),
            (format!("{SAGA}/Charge"), InvalidStepKey::Step),
            (format!("{SAGA}/a b"), InvalidStepKey::Step),
            (format!("{SAGA}/a/b"), InvalidStepKey::Step),
            (format!("{SAGA}/{}", "a".repeat(101)), InvalidStepKey::Step),
        ] {
            assert_eq!(bad.parse::<StepKey>(), Err(error), "{bad}");
        }
        let longest = "a".repeat(STEP_NAME_LEN_MAX);
        assert_eq!(StepKey::parse(SAGA, &longest).unwrap().step(), longest);
        assert_eq!(StepKey::parse("1", "Charge"), Err(InvalidStepKey::SagaId));
    }

    #[test]
    fn logs_show_keys_and_fingerprints_as_text() {
        let key: StepKey = format!("{SAGA}/charge").parse().unwrap();
        let digest = Fingerprint::new([0x0a; 32]);
        assert_eq!(format!("{key:?} {digest:?}"), format!("{SAGA}/charge {}", "0a".repeat(32)));
    }

    #[test]
    fn what_is_no_sha_256_is_no_fingerprint() {
        for bad in ["", "00", &"é".repeat(32), &"+f".repeat(32), &"0".repeat(65)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint), "{bad}");
        }
        assert_eq!(Fingerprint::try_from([0_u8; 31].as_slice()), Err(InvalidFingerprint));
    }
}
