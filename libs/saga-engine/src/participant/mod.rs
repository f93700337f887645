//! The barrier for participants of a saga: it makes an action and its compensation idempotent under one step key, whatever the
//! network repeats, loses, delays or reorders.
//!
//! | arrives | key never seen | action done | action refused | compensated |
//! |---|---|---|---|---|
//! | action, same fingerprint | perform it, once | same answer | same refusal | refused |
//! | action, other fingerprint | – | mismatch | mismatch | refused |
//! | compensation | tombstone, nothing to undo | undo it, once | tombstone, nothing to undo | already |
//! | close (pivot only) | tombstone, closed | it was done | tombstone, closed | closed |
//!
//! [`decide`] is the table as pure functions, for any store that can change one record atomically. [`Barrier`] applies it in an SQL
//! transaction of the caller, together with the participant's own rows. `testkit::barrier` puts any participant through the table.
//!
//! Records are kept until [`Barrier::purge`] is called, which says how old they have to be.
//!
//! Must not know: what is performed or undone, nor who calls.

pub mod decide;
mod sql;

use std::fmt;

use amends_primitives::SagaId;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use sql::oldest;
pub use sql::{Barrier, BarrierError, BeginAction, BeginClose, BeginCompensation, SCHEMA};

/// Names one step of one saga, as a participant receives it. Actions and their compensations carry the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionKey {
    saga_id: SagaId,
    step: String,
}

/// Longer step names do not fit an index entry comfortably, and no definition has them.
pub const STEP_NAME_LENGTH_MAX: usize = 100;

/// The parts do not make a step key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not a UUID.
    #[error("the saga id is not a UUID in canonical form")]
    SagaId,
    /// Empty, too long, or with other characters than `a-z`, `0-9` and `_`.
    #[error("the step name must be 1 to {STEP_NAME_LENGTH_MAX} characters of a-z, 0-9 and _")]
    Step,
}

impl ActionKey {
    /// From the parts a request carries.
    ///
    /// # Errors
    /// When either part is malformed.
    pub fn parse(saga_id: &str, step: &str) -> Result<Self, InvalidKey> {
        let saga_id = saga_id.parse().map_err(|_| InvalidKey::SagaId)?;
        let fits = (1..=STEP_NAME_LENGTH_MAX).contains(&step.len())
            && step.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if fits { Ok(Self { saga_id, step: step.to_owned() }) } else { Err(InvalidKey::Step) }
    }

    /// The saga.
    pub const fn saga_id(&self) -> SagaId {
        self.saga_id
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.step
    }
}

/// `<saga id>/<step>`, the form stores keep.
impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.saga_id, self.step)
    }
}

impl TryFrom<String> for ActionKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (saga_id, step) = text.split_once('/').ok_or(InvalidKey::Step)?;
        Self::parse(saga_id, step)
    }
}

impl From<ActionKey> for String {
    fn from(key: ActionKey) -> Self {
        key.to_string()
    }
}

impl From<crate::StepKey> for ActionKey {
    fn from(key: crate::StepKey) -> Self {
        Self { saga_id: key.saga_id, step: key.step.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        let key = ActionKey::parse(id, "charge_payment").unwrap();
        assert_eq!(key.to_string(), format!("{id}/charge_payment"));
        assert_eq!(ActionKey::try_from(key.to_string()), Ok(key));
        assert_eq!(ActionKey::parse("1", "charge"), Err(InvalidKey::SagaId));
        for bad in ["", "Charge", "a/b", "a b", &"x".repeat(101)] {
            assert_eq!(ActionKey::parse(id, bad), Err(InvalidKey::Step), "{bad}");
        }
    }
}
