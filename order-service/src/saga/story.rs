//! An order's story in the log: one line for each thing that happened to its sagas, `target: "story"`.
//!
//! The lines are written between steps, where no request is current; so each names the order, the saga, and the correlation id and trace
//! of the request that began it, also after another replica has taken the saga over. While no sink takes such lines, none of this is made.
//!
//! Must not know: the sagas' steps, HTTP, gRPC.

use amends_primitives::OrderId;
use saga_engine::{
    Cause, Happened, Status, Told,
    event::Event,
    journal::Resolution,
    timeline::{EntryOutcome, Phase},
};

/// One line's own words.
#[derive(Debug, Default, Clone, Copy)]
struct Line<'a> {
    what: &'static str,
    step: Option<&'a str>,
    phase: Option<Phase>,
    outcome: Option<&'static str>,
    attempt: Option<u32>,
    /// Why: a code, and a sentence.
    why: Option<(&'a str, &'a str)>,
    /// Who asked for it.
    operator: Option<&'a str>,
    replica: Option<&'a str>,
}

/// Writes the line of what is told.
pub(super) fn tell(order: OrderId, correlation: Option<&str>, told: &Told<'_>) {
    if !tracing::enabled!(target: "story", tracing::Level::INFO) {
        return;
    }
    let line = line(told);
    // An event has one level: the macro is given each.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                target: "story",
                correlation_id = correlation,
                order.id = %order,
                saga.id = %told.id,
                saga.name = told.name(),
                saga.status = told.status().as_str(),
                saga.step = line.step,
                saga.phase = line.phase.map(Phase::as_str),
                saga.outcome = line.outcome,
                retry.attempt = line.attempt,
                error.type = line.why.map(|(code, _)| code),
                error = line.why.map(|(_, sentence)| sentence),
                operator = line.operator,
                replica = line.replica,
                trace_id = told.trace.trace_id(),
                span_id = told.trace.span_id(),
                "{}", line.what
            )
        };
    }
    // A parked saga waits for a human: its line is on the console too.
    if matches!(told.happened, Happened::Event(Event::Parked { .. })) { log!(error) } else { log!(info) }
}

fn line<'a>(told: &Told<'a>) -> Line<'a> {
    let Happened::Event(event) = told.happened else { return Line { what: "accepted", ..Line::default() } };
    match event {
        Event::Resumed { replica, .. } => {
            Line { what: "taken over", step: told.step(), replica: Some(replica), ..Line::default() }
        }
        Event::StepDone { step, attempt, .. } => {
            of_step("step done", step, Phase::Action, EntryOutcome::Done, *attempt)
        }
        Event::StepRefused { step, attempt, refusal, .. } => Line {
            why: Some((&refusal.code, &refusal.message)),
            ..of_step("step refused", step, Phase::Action, EntryOutcome::Refused, *attempt)
        },
        Event::StepUnknown { step, attempt, cause, not_sent: true, .. } => {
            not_yet(cause, of_step("step not sent", step, Phase::Action, EntryOutcome::NotSent, *attempt))
        }
        Event::StepUnknown { step, attempt, cause, .. } => {
            not_yet(cause, of_step("step in doubt", step, Phase::Action, EntryOutcome::Unknown, *attempt))
        }
        Event::Unwinding { failure } => Line {
            what: "unwinding",
            step: failure.step.as_deref(),
            why: Some((&failure.code, &failure.message)),
            ..Line::default()
        },
        Event::PivotClosed { step, attempt } => {
            of_step("pivot closed", step, Phase::Close, EntryOutcome::Closed, *attempt)
        }
        Event::PivotWasDone { step, attempt, .. } => {
            of_step("pivot was done: goes forward", step, Phase::Close, EntryOutcome::Done, *attempt)
        }
        Event::CloseNotYet { step, attempt, cause, .. } => {
            not_yet(cause, of_step("pivot not closed yet", step, Phase::Close, EntryOutcome::NotYet, *attempt))
        }
        Event::Compensated { step, attempt } => {
            of_step("compensated", step, Phase::Compensation, EntryOutcome::Undone, *attempt)
        }
        Event::CompensationNotYet { step, attempt, cause, .. } => {
            not_yet(cause, of_step("not compensated yet", step, Phase::Compensation, EntryOutcome::NotYet, *attempt))
        }
        Event::Parked { step, cause } => Line {
            step: step.as_deref(),
            ..not_yet(cause, Line { what: "parked: it needs a human", ..settled(Status::Parked) })
        },
        Event::CancelRequested { by } => {
            Line { what: "an operator asked to cancel", operator: Some(&by.who), ..Line::default() }
        }
        Event::Retried { by } => {
            Line { what: "an operator had it retried", operator: Some(&by.who), ..Line::default() }
        }
        Event::Resolved { by, step, resolution } => Line {
            what: "an operator settled a step",
            step: Some(step),
            outcome: Some(match resolution {
                Resolution::Done { .. } => EntryOutcome::Done.as_str(),
                Resolution::Undone => EntryOutcome::Undone.as_str(),
            }),
            operator: Some(&by.who),
            ..Line::default()
        },
        Event::RequestRefused { by, reason } => Line {
            what: "an operator's request was refused",
            why: Some(("request_refused", reason)),
            operator: Some(&by.who),
            ..Line::default()
        },
        Event::Completed => settled(Status::Completed),
        Event::Unwound => settled(Status::Unwound),
        // Beginnings are not told.
        Event::StepStarted { .. } | Event::CompensationStarted { .. } | Event::CloseStarted { .. } => {
            Line { what: "attempt begins", ..Line::default() }
        }
    }
}

fn of_step<'a>(what: &'static str, step: &'a str, phase: Phase, outcome: EntryOutcome, attempt: u32) -> Line<'a> {
    Line {
        what,
        step: Some(step),
        phase: Some(phase),
        outcome: Some(outcome.as_str()),
        attempt: Some(attempt),
        ..Line::default()
    }
}

fn not_yet<'a>(cause: &'a Cause, line: Line<'a>) -> Line<'a> {
    Line { why: Some((&cause.code, &cause.message)), ..line }
}

fn settled(status: Status) -> Line<'static> {
    Line { what: "settled", outcome: Some(status.as_str()), ..Line::default() }
}
