//! A saga's history for people: one row for each step and phase, folded from its events.

use std::collections::HashSet;

use amends_primitives::Timestamp;

use crate::{
    Failure, Status, TraceContext,
    event::{Event, Record},
    journal::{Resolution, SagaRow, Stored},
};

/// What happened to a saga.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The saga's row.
    pub row: SagaRow,
    /// Its steps, in the order in which they began.
    pub entries: Vec<TimelineEntry>,
    /// Its events, in order.
    pub records: Vec<Record>,
}

/// One step in one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The step.
    pub step: String,
    /// What was made of it.
    pub phase: Phase,
    /// How often, as far as it is known.
    pub attempts: u32,
    /// How it ended, or how it stands.
    pub outcome: EntryOutcome,
    /// The stable code of the last refusal or cause, if there was one.
    pub code: Option<String>,
    /// The sentence to it.
    pub detail: Option<String>,
    /// When the first attempt began.
    pub started_at: Timestamp,
    /// When the last attempt ended, if it did.
    pub finished_at: Option<Timestamp>,
}

/// What was made of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its action.
    Action,
    /// Its compensation.
    Compensation,
    /// The closing of the pivot.
    Close,
}

impl Phase {
    /// The displayed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
            Self::Close => "close",
        }
    }
}

/// How a step stands in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryOutcome {
    /// An attempt is under way.
    InFlight,
    /// The action took effect; or, closing the pivot, it was found to have.
    Done,
    /// The action was refused.
    Refused,
    /// It is not known whether the action took effect.
    Unknown,
    /// No attempt of the action was sent, as far as is known. One that may have been makes it [`Unknown`](Self::Unknown), however many
    /// after it were not.
    NotSent,
    /// The compensation is done.
    Undone,
    /// The pivot is closed.
    Closed,
    /// A compensation or a close did not succeed yet.
    NotYet,
}

impl EntryOutcome {
    /// The displayed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::NotSent => "not_sent",
            Self::Undone => "undone",
            Self::Closed => "closed",
            Self::NotYet => "not_yet",
        }
    }
}

impl Timeline {
    /// Folds a saga's events.
    pub fn new(stored: Stored) -> Self {
        let (mut entries, mut doubt) = (Vec::new(), Doubt::default());
        for record in &stored.records {
            fold(&mut entries, &mut doubt, record);
        }
        Self { row: stored.row, entries, records: stored.records }
    }

    /// Where the saga is.
    pub const fn status(&self) -> Status {
        self.row.status
    }

    /// Why it did not go through.
    pub const fn failure(&self) -> Option<&Failure> {
        self.row.failure.as_ref()
    }

    /// The trace it belongs to.
    pub const fn trace(&self) -> &TraceContext {
        &self.row.trace
    }
}

/// Which steps' actions may have had an effect that is not known.
#[derive(Default)]
struct Doubt {
    /// Steps with an attempt that may have been sent.
    attempted: HashSet<String>,
    /// Another replica took the saga over: the one before may have made attempts of any step.
    taken_over: bool,
}

impl Doubt {
    fn is_about(&self, step: &str) -> bool {
        self.taken_over || self.attempted.contains(step)
    }
}

fn fold(entries: &mut Vec<TimelineEntry>, doubt: &mut Doubt, record: &Record) {
    use EntryOutcome as O;
    let at = record.at;
    let mut end = |step: &str, phase, outcome, why: Option<(&str, &str)>| {
        let entry = entry(entries, step, phase, at);
        entry.outcome = outcome;
        entry.finished_at = Some(at);
        if let Some((code, detail)) = why {
            (entry.code, entry.detail) = (Some(code.to_owned()), Some(detail.to_owned()));
        }
    };
    match &record.event {
        Event::StepStarted { step, .. } => begin(entries, step, Phase::Action, at),
        Event::CompensationStarted { step, .. } => begin(entries, step, Phase::Compensation, at),
        Event::CloseStarted { step, .. } => begin(entries, step, Phase::Close, at),
        Event::StepDone { step, .. } => {
            end(step, Phase::Action, O::Done, None);
        }
        Event::StepRefused { step, refusal, .. } => {
            end(step, Phase::Action, O::Refused, Some((&refusal.code, &refusal.message)));
        }
        Event::StepUnknown { step, cause, not_sent, .. } => {
            let outcome = if *not_sent && !doubt.is_about(step) { O::NotSent } else { O::Unknown };
            if outcome == O::Unknown {
                doubt.attempted.insert(step.clone());
            }
            end(step, Phase::Action, outcome, Some((&cause.code, &cause.message)));
        }
        Event::Compensated { step, .. } => {
            end(step, Phase::Compensation, O::Undone, None);
        }
        Event::CompensationNotYet { step, cause, .. } => {
            end(step, Phase::Compensation, O::NotYet, Some((&cause.code, &cause.message)));
        }
        Event::PivotClosed { step, .. } => {
            end(step, Phase::Close, O::Closed, None);
        }
        Event::PivotWasDone { step, .. } => {
            end(step, Phase::Close, O::Done, None);
        }
        Event::CloseNotYet { step, cause, .. } => {
            end(step, Phase::Close, O::NotYet, Some((&cause.code, &cause.message)));
        }
        Event::Resolved { step, resolution, by } => {
            let why = Some(("resolved", by.why.as_str()));
            match resolution {
                Resolution::Done { .. } => end(step, Phase::Action, O::Done, why),
                Resolution::Undone => end(step, Phase::Compensation, O::Undone, why),
            }
        }
        Event::Resumed { .. } => {
            doubt.taken_over = true;
            interrupt(entries, at);
        }
        Event::Unwinding { .. }
        | Event::CancelRequested { .. }
        | Event::Parked { .. }
        | Event::Retried { .. }
        | Event::RequestRefused { .. }
        | Event::Completed
        | Event::Unwound => {}
    }
}

fn begin(entries: &mut Vec<TimelineEntry>, step: &str, phase: Phase, at: Timestamp) {
    let entry = entry(entries, step, phase, at);
    entry.attempts += 1;
    entry.outcome = EntryOutcome::InFlight;
    entry.finished_at = None;
}

/// The step's entry of that phase. What a replica that crashed did is not known, so an entry may begin with its end.
fn entry<'a>(entries: &'a mut Vec<TimelineEntry>, step: &str, phase: Phase, at: Timestamp) -> &'a mut TimelineEntry {
    let found = entries.iter().position(|entry| entry.step == step && entry.phase == phase);
    let at_position = found.unwrap_or_else(|| {
        entries.push(TimelineEntry {
            step: step.to_owned(),
            phase,
            attempts: 0,
            outcome: EntryOutcome::InFlight,
            code: None,
            detail: None,
            started_at: at,
            finished_at: None,
        });
        entries.len() - 1
    });
    &mut entries[at_position]
}

fn interrupt(entries: &mut [TimelineEntry], at: Timestamp) {
    for entry in entries {
        match (entry.phase, entry.outcome) {
            // The replica that is gone may have sent an attempt of which the journal does not tell.
            (Phase::Action, EntryOutcome::NotSent) => entry.outcome = EntryOutcome::Unknown,
            (phase, EntryOutcome::InFlight) => {
                entry.outcome = if phase == Phase::Action { EntryOutcome::Unknown } else { EntryOutcome::NotYet };
                entry.code = Some("interrupted".to_owned());
                entry.detail = Some("the replica that made the attempt is gone".to_owned());
                entry.finished_at = Some(at);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    /// What is told of a step after events of its action: `s`ent without an answer, `n`ot sent, `r`esumed by another replica.
    fn told(events: &str) -> EntryOutcome {
        let (mut entries, mut doubt) = (Vec::new(), Doubt::default());
        let (at, step) = (Timestamp::from_millis(0), || "charge".to_owned());
        for (attempt, event) in (1..).zip(events.chars()) {
            let ended = |not_sent| Event::StepUnknown {
                step: step(),
                attempt,
                cause: Cause::environment("", ""),
                retry_at: at,
                not_sent,
            };
            let events = match event {
                'r' => vec![Event::Resumed { replica: String::new(), fence: 2 }],
                other => vec![Event::StepStarted { step: step(), attempt }, ended(other == 'n')],
            };
            for event in events {
                fold(&mut entries, &mut doubt, &Record { at, event });
            }
        }
        entries[0].outcome
    }

    /// An operator who reads "not sent" of a parked saga may settle it by hand; it must be true of every attempt.
    #[test]
    fn not_sent_is_told_only_of_what_no_attempt_contradicts() {
        assert_eq!(told("nnn"), EntryOutcome::NotSent);
        for doubtful in ["s", "sn", "nsn", "snnn", "nr", "nrn", "rn"] {
            assert_eq!(told(doubtful), EntryOutcome::Unknown, "{doubtful}");
        }
    }
}
