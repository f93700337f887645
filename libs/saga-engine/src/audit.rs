//! Whether a journal adds up: its events are numbered without a gap, as many as the saga's row counts, and folded they are where the
//! row says the saga is. Pure.
//!
//! Must not know: where journals are kept, what a saga is about.

use amends_primitives::Timestamp;

use crate::{event::Record, shape::Shape, state::State, transition};

/// A saga's row and its entries, as they are stored, of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJournal {
    /// The saga.
    pub id: String,
    /// What kind of saga it is.
    pub definition: String,
    /// That kind's version.
    pub version: i64,
    /// What it is about.
    pub subject: String,
    /// Where the row says it is.
    pub status: String,
    /// Why it does not go through, as JSON.
    pub failure: Option<String>,
    /// Why it is parked, as JSON.
    pub parked: Option<String>,
    /// How many events the row counts.
    pub seq: i64,
    /// When it was started.
    pub created_at: Timestamp,
    /// The entries: the number of the first event in each, and the events as JSON.
    pub entries: Vec<(i64, String)>,
}

/// How a journal does not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An entry that is no list of events.
    #[error("the entry at event {seq} cannot be read: {why}")]
    Unreadable {
        /// The number of its first event.
        seq: i64,
        /// What the reader said.
        why: String,
    },
    /// Events are missing, there twice, or not counted.
    #[error("event {expected} should come next, the journal goes on at {found}")]
    Gap {
        /// The number that the next entry, or the end, should have.
        expected: i64,
        /// The number it has.
        found: i64,
    },
    /// An event that cannot follow those before it.
    #[error("event {seq} cannot have happened: {why}")]
    Illegal {
        /// Its number.
        seq: i64,
        /// Why it cannot.
        why: String,
    },
    /// The row says one thing, the events another.
    #[error("the row's {column} is {row}, the events add up to {events}")]
    Differs {
        /// Which column.
        column: &'static str,
        /// What it says.
        row: String,
        /// What the events add up to.
        events: String,
    },
}

/// The first flaw of a journal, if it has one. A saga of a definition that is not among `shapes` is only counted.
pub fn flaw(journal: &StoredJournal, shapes: &[Shape]) -> Option<Flaw> {
    let mut records: Vec<Record> = Vec::new();
    for (seq, events) in &journal.entries {
        let expected = next_after(&records);
        if *seq != expected {
            return Some(Flaw::Gap { expected, found: *seq });
        }
        match serde_json::from_str::<Vec<Record>>(events) {
            Ok(read) => records.extend(read),
            Err(error) => return Some(Flaw::Unreadable { seq: *seq, why: error.to_string() }),
        }
    }
    let counted = journal.seq.saturating_add(1);
    if counted != next_after(&records) {
        return Some(Flaw::Gap { expected: counted, found: next_after(&records) });
    }
    let shape =
        shapes.iter().find(|shape| shape.name == journal.definition && i64::from(shape.version) == journal.version)?;
    let mut state = State::started(shape, journal.created_at);
    for (seq, record) in (1..).zip(&records) {
        if let Err(illegal) = transition::apply(shape, &mut state, record) {
            return Some(Flaw::Illegal { seq, why: illegal.to_string() });
        }
    }
    let status = state.status().as_str();
    if status != journal.status {
        let (row, events) = (journal.status.clone(), status.to_owned());
        return Some(Flaw::Differs { column: "status", row, events });
    }
    differs("failure", journal.failure.as_deref(), state.failure())
        .or_else(|| differs("parked", journal.parked.as_deref(), state.parked()))
}

fn next_after(records: &[Record]) -> i64 {
    i64::try_from(records.len()).unwrap_or(i64::MAX).saturating_add(1)
}

fn differs<T>(column: &'static str, row: Option<&str>, folded: Option<&T>) -> Option<Flaw>
where
    T: PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    let read: Option<T> = row.and_then(|row| serde_json::from_str(row).ok());
    if row.is_some() == read.is_some() && read.as_ref() == folded {
        return None;
    }
    let events = folded.and_then(|folded| serde_json::to_string(folded).ok());
    let none = || "none".to_owned();
    Some(Flaw::Differs { column, row: row.map_or_else(none, str::to_owned), events: events.unwrap_or_else(none) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Outline, Role};

    fn shapes() -> Vec<Shape> {
        let steps = [Outline::new("reserve", Role::Compensable), Outline::new("ship", Role::Pivot)];
        vec![Shape::outlined("sample", 1, &steps)]
    }

    fn journal(status: &str, seq: i64, entries: &[(i64, &str)]) -> StoredJournal {
        StoredJournal {
            id: "s".into(),
            definition: "sample".into(),
            version: 1,
            subject: "o".into(),
            status: status.into(),
            failure: None,
            parked: None,
            seq,
            created_at: Timestamp::default(),
            entries: entries.iter().map(|(seq, events)| (*seq, (*events).to_owned())).collect(),
        }
    }

    const RESERVED: &str = r#"[{"at":1,"event":"step_started.v1","step":"reserve","attempt":1},
        {"at":1,"event":"step_done.v1","step":"reserve","attempt":1}]"#;
    const SHIPPED: &str = r#"[{"at":2,"event":"step_started.v1","step":"ship","attempt":1},
        {"at":2,"event":"step_done.v1","step":"ship","attempt":1},{"at":2,"event":"completed.v1"}]"#;

    fn check(journal: &StoredJournal, expected: &str) {
        let found = flaw(journal, &shapes()).map(|flaw| flaw.to_string()).unwrap_or_default();
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "{found}");
    }

    #[test]
    fn a_journal_adds_up_or_says_where_it_does_not() {
        check(&journal("running", 0, &[]), "");
        check(&journal("running", 2, &[(1, RESERVED)]), "");
        check(&journal("completed", 5, &[(1, RESERVED), (3, SHIPPED)]), "");
        check(&journal("completed", 5, &[(3, SHIPPED)]), "event 1 should come next, the journal goes on at 3");
        check(&journal("completed", 5, &[(1, RESERVED)]), "event 6 should come next, the journal goes on at 3");
        check(&journal("completed", 4, &[(1, RESERVED), (3, SHIPPED)]), "event 5 should come next");
        check(
            &journal("running", 5, &[(1, RESERVED), (3, SHIPPED)]),
            "status is running, the events add up to completed",
        );
        check(&journal("running", 3, &[(1, SHIPPED)]), "event 3 cannot have happened: the event completed");
        check(&journal("running", 1, &[(1, "{}")]), "cannot be read");
        let failed = StoredJournal { failure: Some("{}".into()), ..journal("running", 2, &[(1, RESERVED)]) };
        check(&failed, "failure is {}, the events add up to none");
        // Of a definition that is not known the events are counted, no more.
        let unknown = StoredJournal { definition: "other".into(), ..journal("completed", 2, &[(1, RESERVED)]) };
        check(&unknown, "");
    }
}
