//! What CI runs, in the order in which it fails soonest. CI calls only this, so that a red build can be had at home too.

use std::time::{Duration, Instant};

use crate::{
    cargo::cargo,
    commands, mutants,
    process::{self, Failure, Result},
    servers, setup, tidy,
};

/// Agreed for a cold build on two cores.
const BUDGET: Duration = Duration::from_hours(1);

type Phase = (&'static str, fn() -> Result);

fn run_phases(phases: &[Phase]) -> Result {
    let begun = Instant::now();
    let mut table = String::new();
    let mut outcome = Ok(());
    for (name, phase) in phases {
        println!("\n==> {name}");
        let started = Instant::now();
        outcome = phase();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        table.push_str(&line(name, started.elapsed(), word));
        if outcome.is_err() {
            break;
        }
    }
    let word = if begun.elapsed() <= BUDGET { "" } else { "over the budget of 60 minutes" };
    println!("\n{table}{}", line("total", begun.elapsed(), word));
    outcome.map_err(|why| match why {
        Failure::Message(message) => Failure::Message(message),
        Failure::Exit(code) => Failure::message(format!("a phase failed with exit code {code}")),
    })
}

fn line(name: &str, took: Duration, word: &str) -> String {
    let seconds = took.as_secs();
    format!("{name:<10} {:>3} min {:>2} s  {word}\n", seconds / 60, seconds % 60)
}

pub(crate) fn run() -> Result {
    run_phases(&[
        ("setup", || setup::build_tools().and_then(|_| servers::locate()).map(drop)),
        ("format", || run_cargo(&["fmt", "--all", "--", "--check"])),
        ("tidy", tidy::run),
        ("clippy", || run_cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ("build", || commands::build_all(&setup::build_tools()?)),
        ("test", || commands::test(&[])),
        ("load", || commands::load(&["--smoke".to_owned()])),
        ("drill", || commands::drill(&["--smoke".to_owned()])),
        ("price", || commands::price(&["--exact", "--orders", "30"].map(str::to_owned))),
        ("demo", || commands::demo(&[])),
        ("mutants", mutants::of_change),
    ])
}

fn run_cargo(arguments: &[&str]) -> Result {
    process::run(cargo(&setup::build_tools()?).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_the_run() {
        let phases: [Phase; 2] = [("a", || Err(Failure::Exit(7))), ("b", || unreachable!("after a failure"))];
        assert_eq!(run_phases(&phases), Err(Failure::message("a phase failed with exit code 7")));
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(line("test", Duration::from_secs(125), "ok"), "test         2 min  5 s  ok\n");
    }
}
