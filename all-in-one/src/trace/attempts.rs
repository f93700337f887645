//! A saga's events folded to what is drawn: steps with each of their attempts, and what else happened between them.
//!
//! How long an attempt took is the time between the two events that it has in the journal. They are written together with the saga's
//! next entry, each with its own time, so that nothing more has to be kept.

use amends_primitives::Timestamp;
use saga_engine::{
    event::{Event, Record},
    journal::Resolution,
    timeline::{EntryOutcome, Phase},
};
use serde::{Serialize, Serializer};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Attempts of a step, in one phase.
    Step(Step),
    /// Anything else.
    Mark {
        /// When.
        #[serde(serialize_with = "as_text")]
        at: Timestamp,
        /// What, in a few words.
        what: String,
        /// Whether it is a turn for the worse.
        #[serde(skip)]
        is_bad: bool,
    },
}

/// Attempts of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The step.
    pub step: String,
    /// What was made of it.
    #[serde(serialize_with = "phase")]
    pub phase: Phase,
    /// In the order of their beginnings; at least one.
    pub attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began; the moment at which its end is known, where another replica made it.
    #[serde(serialize_with = "as_text")]
    pub began: Timestamp,
    /// When it ended; none while it is under way.
    #[serde(serialize_with = "as_text_if_any")]
    pub ended: Option<Timestamp>,
    /// How.
    #[serde(serialize_with = "outcome")]
    pub outcome: EntryOutcome,
    /// Why: the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
fn as_text_if_any<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn phase<S: Serializer>(phase: &Phase, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.as_str())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn outcome<S: Serializer>(outcome: &EntryOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

/// Folds a saga's events.
pub fn entries(records: &[Record]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for record in records {
        fold(&mut entries, record);
    }
    entries
}

fn fold(entries: &mut Vec<Entry>, Record { at, event }: &Record) {
    use EntryOutcome as O;
    let at = *at;
    let mut end = |step: &str, phase, attempt, outcome, code: Option<&str>| {
        ended(entries, step, phase, attempt, at, outcome, code);
    };
    match event {
        Event::StepStarted { step, attempt } => began(entries, step, Phase::Action, *attempt, at),
        Event::CompensationStarted { step, attempt } => began(entries, step, Phase::Compensation, *attempt, at),
        Event::CloseStarted { step, attempt } => began(entries, step, Phase::Close, *attempt, at),
        Event::StepDone { step, attempt, .. } => end(step, Phase::Action, *attempt, O::Done, None),
        Event::StepRefused { step, attempt, refusal, .. } => {
            end(step, Phase::Action, *attempt, O::Refused, Some(&refusal.code));
        }
        Event::StepUnknown { step, attempt, cause, not_sent, .. } => {
            let outcome = if *not_sent { O::NotSent } else { O::Unknown };
            end(step, Phase::Action, *attempt, outcome, Some(&cause.code));
        }
        Event::Compensated { step, attempt } => end(step, Phase::Compensation, *attempt, O::Undone, None),
        Event::CompensationNotYet { step, attempt, cause, .. } => {
            end(step, Phase::Compensation, *attempt, O::NotYet, Some(&cause.code));
        }
        Event::PivotClosed { step, attempt } => end(step, Phase::Close, *attempt, O::Closed, None),
        Event::PivotWasDone { step, attempt, .. } => end(step, Phase::Close, *attempt, O::Done, None),
        Event::CloseNotYet { step, attempt, cause, .. } => {
            end(step, Phase::Close, *attempt, O::NotYet, Some(&cause.code));
        }
        Event::Resumed { replica, .. } => {
            interrupt(entries, at);
            mark(entries, at, format!("taken over by replica {replica}"), true);
        }
        Event::Unwinding { failure } => mark(entries, at, format!("unwinding: {}", failure.code), true),
        Event::Parked { cause, .. } => mark(entries, at, format!("parked, needs a human: {}", cause.code), true),
        Event::CancelRequested { by } => mark(entries, at, format!("{} asked to cancel: {}", by.who, by.why), true),
        Event::Retried { by } => mark(entries, at, format!("{} had it retried: {}", by.who, by.why), false),
        Event::Resolved { by, step, resolution } => {
            let fate = match resolution {
                Resolution::Done { .. } => "done",
                Resolution::Undone => "undone",
            };
            mark(entries, at, format!("{} settled {step} as {fate}: {}", by.who, by.why), false);
        }
        Event::RequestRefused { by, reason } => {
            mark(entries, at, format!("what {} asked for was refused: {reason}", by.who), false);
        }
        // The saga's own line says where it stands.
        Event::Completed | Event::Unwound => {}
    }
}

fn mark(entries: &mut Vec<Entry>, at: Timestamp, what: String, is_bad: bool) {
    entries.push(Entry::Mark { at, what, is_bad });
}

fn steps(entries: &mut [Entry]) -> impl Iterator<Item = &mut Step> {
    entries.iter_mut().filter_map(|entry| match entry {
        Entry::Step(step) => Some(step),
        Entry::Mark { .. } => None,
    })
}

/// The attempts of the step in that phase, if there are any yet.
fn of<'a>(entries: &'a mut [Entry], step: &str, phase: Phase) -> Option<&'a mut Vec<Attempt>> {
    let mut same = steps(entries).filter(|known| known.step == step && known.phase == phase);
    same.next().map(|step| &mut step.attempts)
}

fn began(entries: &mut Vec<Entry>, step: &str, phase: Phase, number: u32, at: Timestamp) {
    let attempt = Attempt { number, began: at, ended: None, outcome: EntryOutcome::InFlight, code: None };
    if let Some(attempts) = of(entries, step, phase) {
        attempts.push(attempt);
    } else {
        entries.push(Entry::Step(Step { step: step.to_owned(), phase, attempts: vec![attempt] }));
    }
}

fn ended(
    entries: &mut Vec<Entry>,
    step: &str,
    phase: Phase,
    number: u32,
    at: Timestamp,
    outcome: EntryOutcome,
    code: Option<&str>,
) {
    let last = of(entries, step, phase).and_then(|attempts| attempts.last());
    if last.is_none_or(|attempt| attempt.ended.is_some()) {
        // The replica that began it has not come to journal that.
        began(entries, step, phase, number, at);
    }
    if let Some(attempt) = of(entries, step, phase).and_then(|attempts| attempts.last_mut()) {
        attempt.ended = Some(at);
        attempt.outcome = outcome;
        attempt.code = code.map(str::to_owned);
    }
}

/// Attempts under way when their replica went away.
fn interrupt(entries: &mut [Entry], at: Timestamp) {
    for step in steps(entries) {
        let phase = step.phase;
        for attempt in step.attempts.iter_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(at);
            attempt.outcome = if phase == Phase::Action { EntryOutcome::Unknown } else { EntryOutcome::NotYet };
            attempt.code = Some("interrupted".to_owned());
        }
    }
}
