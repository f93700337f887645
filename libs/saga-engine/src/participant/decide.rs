//! The barrier's table as pure functions: what is on record for a key, and what arrives.
//!
//! A store applies a decision by changing the key's one record atomically (a transaction, a compare-and-set, a unique insert), together
//! with the effect itself. Invariant: nothing here awaits or knows a store.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a participant keeps for one step key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Record {
    /// The action took effect.
    Done {
        /// Of the request that was performed.
        fingerprint: String,
        /// What was answered, to be answered again.
        answer: Value,
    },
    /// The action was refused, and the refusal is remembered, so that a repeat cannot be answered otherwise.
    Refused {
        /// Of the request that was refused.
        fingerprint: String,
        /// What was answered, to be answered again.
        answer: Value,
    },
    /// The action was undone, or was compensated or closed before it arrived: it can never take effect any more.
    Tombstone {
        /// What the action had answered, if it ever took effect: for audits and for repeats of the compensation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Value>,
    },
}

/// What to do about an action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Perform it, and put [`Record::Done`] or [`Record::Refused`] on record together with the effect.
    Perform,
    /// It was performed: answer the same again.
    Repeat(Value),
    /// It was refused: refuse the same again.
    RepeatRefusal(Value),
    /// It was compensated or closed before: refuse it for good.
    Compensated,
    /// The key was used for another request: refuse it, and change nothing.
    Mismatch,
}

/// What to do about a compensation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Compensation {
    /// The action took effect with this answer: undo it, and put [`Record::Tombstone`] with the answer on record together with that.
    Undo(Value),
    /// Nothing took effect: put [`Record::Tombstone`] on record, so that nothing will, and answer success.
    Bury,
    /// Undone before: answer success. Holds the action's answer, if there was one.
    Already(Option<Value>),
}

/// What to do about closing a pivot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Close {
    /// The pivot took effect: answer so. The record stays as it is.
    WasDone(Value),
    /// Nothing took effect: put [`Record::Tombstone`] on record, and answer that it is closed.
    Bury,
    /// Closed before: answer so again.
    Already,
}

/// Decides on an action. `fingerprint` is a digest of what is asked for, without what may differ between attempts.
pub fn action(existing: Option<&Record>, fingerprint: &str) -> Action {
    match existing {
        None => Action::Perform,
        Some(Record::Done { fingerprint: first, answer }) if first == fingerprint => Action::Repeat(answer.clone()),
        Some(Record::Refused { fingerprint: first, answer }) if first == fingerprint => {
            Action::RepeatRefusal(answer.clone())
        }
        Some(Record::Done { .. } | Record::Refused { .. }) => Action::Mismatch,
        Some(Record::Tombstone { .. }) => Action::Compensated,
    }
}

/// Decides on a compensation.
pub fn compensation(existing: Option<&Record>) -> Compensation {
    match existing {
        Some(Record::Done { answer, .. }) => Compensation::Undo(answer.clone()),
        None | Some(Record::Refused { .. }) => Compensation::Bury,
        Some(Record::Tombstone { answer }) => Compensation::Already(answer.clone()),
    }
}

/// Decides on closing a pivot.
pub fn close(existing: Option<&Record>) -> Close {
    match existing {
        Some(Record::Done { answer, .. }) => Close::WasDone(answer.clone()),
        None | Some(Record::Refused { .. }) => Close::Bury,
        Some(Record::Tombstone { .. }) => Close::Already,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let done = Record::Done { fingerprint: "f".into(), answer: Value::from(1) };
        let refused = Record::Refused { fingerprint: "f".into(), answer: Value::from(2) };
        let buried = Record::Tombstone { answer: None };
        let undone = Record::Tombstone { answer: Some(Value::from(1)) };

        assert_eq!(action(None, "f"), Action::Perform);
        assert_eq!(action(Some(&done), "f"), Action::Repeat(Value::from(1)));
        assert_eq!(action(Some(&refused), "f"), Action::RepeatRefusal(Value::from(2)));
        for record in [&done, &refused] {
            assert_eq!(action(Some(record), "g"), Action::Mismatch);
        }
        for record in [&buried, &undone] {
            assert_eq!(action(Some(record), "f"), Action::Compensated);
            assert_eq!(action(Some(record), "g"), Action::Compensated);
        }

        assert_eq!(compensation(None), Compensation::Bury);
        assert_eq!(compensation(Some(&done)), Compensation::Undo(Value::from(1)));
        assert_eq!(compensation(Some(&refused)), Compensation::Bury);
        assert_eq!(compensation(Some(&buried)), Compensation::Already(None));
        assert_eq!(compensation(Some(&undone)), Compensation::Already(Some(Value::from(1))));

        assert_eq!(close(None), Close::Bury);
        assert_eq!(close(Some(&done)), Close::WasDone(Value::from(1)));
        assert_eq!(close(Some(&refused)), Close::Bury);
        assert_eq!(close(Some(&buried)), Close::Already);
    }

    #[test]
    fn records_are_stored_as_documented() {
        let stored = |record: &Record| serde_json::to_string(record).unwrap();
        let done = Record::Done { fingerprint: "f".into(), answer: Value::from(1) };
        assert_eq!(stored(&done), r#"{"state":"done","fingerprint":"f","answer":1}"#);
        assert_eq!(stored(&Record::Tombstone { answer: None }), r#"{"state":"tombstone"}"#);
    }
}
