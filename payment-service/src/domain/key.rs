//! The key of a refund.
//!
//! Must not know: how it travels.

use std::{fmt, str::FromStr};

use amends_primitives::{InvalidStepKey, StepKey};

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

amends_primitives::debug_as_displayed!(RefundKey);

impl FromStr for RefundKey {
    type Err = InvalidStepKey;

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
    fn key_survives_being_written_down() {
        let text = "0198c0de-0000-7000-8000-000000000001/charge_payment";
        for key in [text.to_owned(), format!("undo:{text}")] {
            let read: RefundKey = key.parse().unwrap();
            assert_eq!([read.to_string(), format!("{read:?}")], [key.clone(), key]);
        }
        assert_eq!("undo:".parse::<RefundKey>(), Err(InvalidStepKey::Shape));
    }
}
