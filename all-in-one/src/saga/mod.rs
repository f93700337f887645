//! `amends saga …`: what operators ask of sagas, straight from the order store's journal: it works while every service is down.
//!
//! What changes a saga is left in its row as a request, which the replica that owns it journals with who asked and why.

mod ask;
mod list;
mod show;
mod stats;

use std::{process::ExitCode, time::Duration};

use amends_primitives::SagaId;
use clap::{Args, Subcommand};
use order_service::saga::Journal;
use saga_engine::Status;

pub(crate) use list::to_json;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Sagas, newest first
    List(ListArgs),
    /// What happened to one saga, step by step
    Show {
        /// The saga's id
        id: SagaId,
    },
    /// Try again now what a saga is parked at, or waits to try again, with a fresh budget
    Retry(AskArgs),
    /// Take a step of a parked saga as settled by hand, and let the saga go on
    Resolve {
        /// The saga, and who asks
        #[command(flatten)]
        ask: AskArgs,
        /// The step, as `amends saga show` names it
        #[arg(long)]
        step: String,
        /// What became of it
        #[arg(long = "as", value_enum)]
        fate: Fate,
        /// With `--as done`: what the step would have put out, as JSON
        #[arg(long, value_name = "JSON")]
        output: Option<String>,
    },
    /// Unwind a saga; honoured unless its pivot is done
    Cancel(AskArgs),
    /// How many sagas there are that have not finished, and how many replicas to run them
    Stats,
}

/// Which sagas to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only in this state: running, unwinding, completed, unwound or parked
    #[arg(long, value_name = "STATE")]
    state: Option<Status>,
    /// Only of this kind, such as place-order
    #[arg(long)]
    kind: Option<String>,
    /// Only at this step
    #[arg(long)]
    step: Option<String>,
    /// Only about this order
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Only of this trace: 32 hexadecimal digits
    #[arg(long, value_name = "TRACE-ID")]
    trace: Option<String>,
    /// Only those started longer ago than this, such as 90s, 15m, 6h or 7d
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// How many at the most, 1 to 500
    #[arg(long, default_value_t = saga_engine::journal::PAGE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(saga_engine::journal::PAGE_MAX)))]
    limit: u32,
    /// Go on after this saga: the cursor a page ends with
    #[arg(long, value_name = "ID")]
    cursor: Option<SagaId>,
}

/// A request, and who makes it.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The saga's id
    id: SagaId,
    /// Why; journaled with the request
    #[arg(long)]
    why: String,
    /// Who asks; journaled with the request
    #[arg(long, env = "USER")]
    who: String,
    /// Seconds to wait for a replica to take the request up; 0 leaves it and returns
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

/// What became of a step, in the operator's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fate {
    /// Its action is done
    Done,
    /// Its action is undone, or never happened
    Undone,
}

/// What a verb came to: what to print, and whether it is what was asked for.
pub struct Told {
    /// For people, or for machines.
    pub text: String,
    /// The program's exit code.
    pub code: ExitCode,
}

impl Told {
    pub(crate) const fn good(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }

    pub(crate) const fn bad(text: String) -> Self {
        Self { text, code: ExitCode::FAILURE }
    }
}

/// Does what was asked.
///
/// # Errors
/// When the order store cannot be asked.
pub async fn run(journal: &Journal, verb: Verb, json: bool) -> anyhow::Result<Told> {
    use saga_engine::journal::Wish;
    match verb {
        Verb::List(args) => list::run(journal, args, json).await,
        Verb::Show { id } => show::run(journal, id, json).await,
        Verb::Stats => stats::run(journal, json).await,
        Verb::Retry(args) => ask::run(journal, args, Wish::Retry, json).await,
        Verb::Cancel(args) => ask::run(journal, args, Wish::Cancel, json).await,
        Verb::Resolve { ask, step, fate, output } => {
            let wish = ask::resolve(journal, ask.id, step, fate, output.as_deref()).await?;
            ask::run(journal, ask, wish, json).await
        }
    }
}

/// A number and its unit.
fn age(text: &str) -> Result<Duration, String> {
    let explain = || "must be a number and a unit, such as 90s, 15m, 6h or 7d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(explain)?;
    let seconds = match unit {
        "s" => 1_u64,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(explain()),
    };
    let number: u64 = number.parse().map_err(|_| explain())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(explain)
}

/// An age for people: two units at the most.
pub(crate) fn spoken(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(age("7d"), Ok(Duration::from_hours(7 * 24)));
        for wrong in ["", "s", "15", "1.5h", "-1s", "15 m", "é", "99999999999999999999d", "18446744073709551615d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_are_spoken_in_two_units() {
        let said = [0, 59, 61, 3_660, 90_000].map(|seconds| spoken(Duration::from_secs(seconds)));
        assert_eq!(said, ["0s", "59s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
