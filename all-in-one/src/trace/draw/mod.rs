//! Draws an order's sagas: a line for each step, one for each attempt where there were several, and bars on the saga's own time.
//!
//! Must not know: where the sagas are read from.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use amends_primitives::{OrderId, Timestamp};
use saga_engine::{
    Status,
    journal::Stored,
    timeline::{EntryOutcome, Phase},
};

use super::attempts::{Attempt, Entry, Step, entries};

/// Columns of the bars: with the words before them, within 120 on most lines.
const BAR: usize = 40;

/// For whom it is drawn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// In colours.
    pub is_coloured: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Good,
    Bad,
    Back,
    Plain,
}

impl Colour {
    /// The terminal's code (ECMA-48, SGR).
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Back => "33",
            Self::Plain => "0",
        }
    }
}

/// A line of the tree.
struct Line {
    /// With its branches.
    label: String,
    phase: &'static str,
    outcome: String,
    colour: Colour,
    began: Timestamp,
    ended: Option<Timestamp>,
    /// Of a mark: one moment, and no bar.
    is_mark: bool,
}

/// Draws an order's sagas, the oldest first.
pub fn draw(order: OrderId, sagas: &[Stored], look: Look) -> String {
    let mut out = format!("order {order}\n");
    for (index, stored) in sagas.iter().enumerate() {
        saga(&mut out, stored, index + 1 == sagas.len(), look);
    }
    out
}

fn saga(out: &mut String, Stored { row, records }: &Stored, is_last: bool, look: Look) {
    let begun = row.created_at;
    // What goes on has no end yet: it is drawn up to the last that is known.
    let known = records.iter().map(|record| record.at).fold(row.updated_at, Timestamp::max);
    let until = row.finished_at.unwrap_or(known).max(begun);
    let colour = match row.status {
        Status::Completed => Colour::Good,
        Status::Parked => Colour::Bad,
        _ => Colour::Back,
    };
    let status = paint(look, colour, row.status.as_str());
    let failure = row.failure.as_ref().map_or_else(String::new, |failure| format!(": {}", failure.code));
    let name = format!("{} v{}", row.definition.name, row.definition.version);
    let (branch, inner) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
    let took = if row.finished_at.is_some() { span(until.since(begun)) } else { "goes on".to_owned() };
    put(out, format_args!("{branch} {name} · {status}{failure} · {took} · {begun}\n"));
    let trace = row.trace.trace_id().map_or_else(String::new, |trace| format!(" · trace {trace}"));
    put(out, format_args!("{inner}│  saga {}{trace}\n", row.id));

    let lines = lines(&entries(records), inner);
    let width = |of: fn(&Line) -> &str| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0);
    let steps = lines.iter().filter(|line| !line.is_mark).map(|line| line.label.chars().count());
    let (labels, outcomes) = (steps.max().unwrap_or(0), width(|line| if line.is_mark { "" } else { &line.outcome }));
    for line in &lines {
        let at = format!("+{}", span(line.began.since(begun)));
        if line.is_mark {
            put(out, format_args!("{} {} {at}\n", line.label, paint(look, line.colour, &line.outcome)));
            continue;
        }
        let outcome = paint(look, line.colour, &format!("{:<outcomes$}", line.outcome));
        let took = line.ended.map_or_else(|| "…".to_owned(), |ended| span(ended.since(line.began)));
        let bar = bar(line, begun, until);
        let bar = paint(look, line.colour, &bar);
        put(out, format_args!("{:<labels$}  {:<5}  {outcome}  {at:>10} {took:>9} ▕{bar}▏\n", line.label, line.phase));
    }
}

/// Adds a line. Writing to a string cannot fail.
fn put(out: &mut String, line: fmt::Arguments<'_>) {
    let _written = out.write_fmt(line);
}

fn lines(entries: &[Entry], inner: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let is_last = index + 1 == entries.len();
        let (branch, below) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
        let label = |name: &str| format!("{inner}{branch} {name}");
        match entry {
            Entry::Mark { at, what, is_bad } => lines.push(Line {
                label: label("!"),
                phase: "",
                outcome: what.clone(),
                colour: if *is_bad { Colour::Back } else { Colour::Plain },
                began: *at,
                ended: None,
                is_mark: true,
            }),
            Entry::Step(Step { step, phase, attempts }) => {
                let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else { continue };
                lines.push(line(label(step), *phase, first.began, last));
                if attempts.len() > 1 {
                    for (index, attempt) in attempts.iter().enumerate() {
                        let branch = if index + 1 == attempts.len() { "└─" } else { "├─" };
                        let label = format!("{inner}{below}{branch} attempt {}", attempt.number);
                        lines.push(Line { phase: "", ..line(label, *phase, attempt.began, attempt) });
                    }
                }
            }
        }
    }
    lines
}

fn line(label: String, phase: Phase, began: Timestamp, last: &Attempt) -> Line {
    let sign = match last.outcome {
        EntryOutcome::Done | EntryOutcome::Undone | EntryOutcome::Closed => "✓",
        EntryOutcome::Refused => "✗",
        EntryOutcome::NotSent => "–",
        EntryOutcome::Unknown | EntryOutcome::NotYet => "?",
        EntryOutcome::InFlight => "…",
    };
    let code = last.code.as_ref().map_or_else(String::new, |code| format!(": {code}"));
    let colour = match (last.outcome, phase) {
        (EntryOutcome::Done, Phase::Action) => Colour::Good,
        (EntryOutcome::Done | EntryOutcome::Undone | EntryOutcome::Closed, _) => Colour::Back,
        (EntryOutcome::InFlight, _) => Colour::Plain,
        _ => Colour::Bad,
    };
    Line {
        label,
        phase: match phase {
            Phase::Action => "do",
            Phase::Compensation => "undo",
            Phase::Close => "close",
        },
        outcome: format!("{sign} {}{code}", last.outcome.as_str()),
        colour,
        began,
        ended: last.ended,
        is_mark: false,
    }
}

/// Where the line's time lies within the saga's; what is shorter than a column has one.
fn bar(line: &Line, begun: Timestamp, until: Timestamp) -> String {
    let whole = until.since(begun).as_micros().max(1);
    let columns = BAR as u128;
    // A clock that was set back makes a time before the beginning: `since` has none.
    let column =
        |at: Timestamp| usize::try_from((at.since(begun).as_micros() * columns / whole).min(columns)).unwrap_or(BAR);
    let from = column(line.began).min(BAR - 1);
    let to = line.ended.map_or(BAR, column).clamp(from + 1, BAR);
    let filling = if line.phase == "undo" { '▒' } else { '█' };
    (0..BAR).map(|at| if (from..to).contains(&at) { filling } else { ' ' }).collect()
}

/// A time for people: four digits at the most, and a unit.
fn span(took: Duration) -> String {
    let micros = took.as_micros();
    let tenths = |unit: u128| format!("{}.{}", micros / unit, micros % unit * 10 / unit);
    match micros {
        0..1_000_000 => format!("{} ms", tenths(1_000)),
        1_000_000..600_000_000 => format!("{} s", tenths(1_000_000)),
        _ => crate::saga::spoken(took),
    }
}

fn paint(look: Look, colour: Colour, text: &str) -> String {
    if look.is_coloured { format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code()) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
