//! `mutants`: changes the rules, one place at a time, and says which changes no test notices. A survivor fails the command unless the
//! list in `accepted.rs` says why nothing can notice it.

mod accepted;
mod copy;
mod lab;
mod parts;
mod results;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use accepted::{ACCEPTED, Accepted};
use lab::Lab;
use parts::PARTS;
use results::Results;
use table::Row;

use crate::{
    cache::Crate,
    environment,
    process::{Failure, Result, capture},
};

const TOOL: Crate =
    Crate { name: "cargo-mutants", version: "27.1.0", program: "cargo-mutants", takes: "some two minutes" };

/// What `ci` gives it: enough for a change, not for everything.
const CI_MAX: Duration = Duration::from_mins(3);

/// What is to be mutated, and how long it may take.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    package: Option<String>,
    /// Only lines that differ from this revision.
    since: Option<String>,
    deadline: Option<Instant>,
}

impl Request {
    fn of(arguments: &[String]) -> Result<Self> {
        let usage = || Failure::message("say `cargo xtask mutants [--in-diff REV] [--package P]`");
        let mut request = Self::default();
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let place = match flag.as_str() {
                "--package" | "-p" => &mut request.package,
                "--in-diff" => &mut request.since,
                _ => return Err(usage()),
            };
            *place = Some(rest.next().ok_or_else(usage)?.clone());
        }
        let packages: BTreeSet<&str> = PARTS.iter().map(|part| part.package).collect();
        match &request.package {
            Some(package) if !packages.contains(package.as_str()) => {
                let known: Vec<&str> = packages.into_iter().collect();
                Err(Failure::message(format!("nothing of `{package}` is mutated, but of: {}", known.join(", "))))
            }
            _ => Ok(request),
        }
    }
}

/// The command.
pub(crate) fn mutants(arguments: &[String]) -> Result {
    let request = Request::of(arguments)?;
    run(&request, &TOOL.install()?)
}

/// What `ci` runs: only what the change touches, within its time, and only where the tool is there: to build it takes as long again.
pub(crate) fn of_change() -> Result {
    let not_run = |why: &str| println!("*** NOT RUN: mutants of this change: {why} ***");
    match (TOOL.built(), base()) {
        (None, _) => not_run("cargo-mutants is not built here; `cargo xtask mutants` and the nightly run build it"),
        (_, None) => not_run("this clone has no commit to compare with"),
        (Some(tool), since) => {
            return run(&Request { package: None, since, deadline: Some(Instant::now() + CI_MAX) }, &tool);
        }
    }
    Ok(())
}

/// What a change is compared with: where it left the main branch; on the main branch, and in a merge made to test the change, the commit
/// before.
fn base() -> Option<String> {
    let git = |arguments: &[&str]| {
        let found = capture(Command::new("git").current_dir(environment::root()).args(arguments)).ok()?;
        Some(found.trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"])?;
    let left = git(&["merge-base", "HEAD", "origin/main"]).filter(|left| *left != head);
    left.or_else(|| git(&["rev-parse", "--verify", "HEAD^1"]))
}

fn run(request: &Request, tool: &Path) -> Result {
    let lab = Lab::new(tool, request.since.as_deref())?;
    let (mut rows, mut failures, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut not_run = BTreeMap::<String, usize>::new();
    let wanted = |package: &str| request.package.as_deref().is_none_or(|only| only == package);
    for part in PARTS.iter().filter(|part| wanted(part.package)) {
        let listed = lab.list(part)?;
        if listed.is_empty() {
            if request.since.is_none() {
                failures.push(format!("{}: there is nothing to mutate: have its files moved?", part.name));
            }
            continue;
        }
        println!("\n--> {}: {} mutants", part.name, listed.len());
        let is_late = request.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let tested = if is_late { Ok(Results::default()) } else { lab.test(part, request.deadline) };
        // A part that cannot be built fails, and the others are still measured.
        let results = tested.unwrap_or_else(|failure| {
            failures.push(format!("{}: {failure}", part.name));
            Results::default()
        });
        for mutant in listed.iter().filter(|mutant| !results.has(mutant)) {
            *not_run.entry(mutant.file.clone()).or_default() += 1;
        }
        let names: BTreeSet<String> = listed.iter().map(results::Mutant::name).collect();
        let list: Vec<Accepted> = ACCEPTED.iter().filter(|entry| names.contains(entry.mutant)).copied().collect();
        let survivors = results.survivors();
        let (unexpected, expected, stale) = accepted::judge(&survivors, &list);
        failures.extend(unexpected.iter().map(|mutant| format!("survived: {mutant}")));
        // Only where every mutant was tried it is known that none survived.
        if request.since.is_none() && results.tried() == listed.len() {
            failures.extend(stale.iter().map(|entry| format!("accepted, but did not survive: {}", entry.mutant)));
        }
        for entry in &expected {
            println!("accepted: {}: {}", entry.mutant, entry.reason);
        }
        rows.push(Row::of(part.name, &results, expected.len()));
        known.extend(names);
    }
    if request.since.is_none() && request.package.is_none() {
        let strays = ACCEPTED.iter().filter(|entry| !known.contains(entry.mutant));
        failures.extend(strays.map(|entry| format!("accepted, but there is no such mutant: {}", entry.mutant)));
    }
    println!("\n{}", table::render(&rows));
    for (file, count) in &not_run {
        println!("*** NOT RUN, the time was up: {count} mutants of {file} ***");
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::message(failures.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request> {
        Request::of(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_package_without_a_part_is_refused() {
        let both = request("--in-diff HEAD~3 --package amends-primitives").unwrap();
        assert_eq!((both.since.as_deref(), both.package.as_deref()), (Some("HEAD~3"), Some("amends-primitives")));
        assert_eq!(request(""), Ok(Request::default()));
        for wrong in ["--package", "--package amends-sql", "all"] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_nightly_run_has_every_package() {
        let read = |file| std::fs::read_to_string(environment::root().join(".github/workflows").join(file)).unwrap();
        let nightly = read("nightly.yml");
        for part in PARTS {
            assert!(nightly.contains(&format!("          - {}\n", part.package)), "{}", part.package);
        }
        let tool = format!("~/.cache/amends/{}-{}\n", TOOL.name, TOOL.version);
        assert!(nightly.contains(&tool) && read("ci.yml").contains(&tool), "{tool}");
    }

    #[test]
    fn every_part_has_files() {
        for part in PARTS {
            assert!(part.tests.len() <= 1, "{}: `cargo test` takes one word", part.name);
            for glob in part.files {
                let folder = glob.split_once('*').map_or(*glob, |(folder, _)| folder);
                assert!(environment::root().join(folder).exists(), "{}: {glob}", part.name);
            }
        }
    }

    #[test]
    fn every_module_of_a_part_has_a_file() {
        let files = capture(Command::new("git").current_dir(environment::root()).args(["ls-files", "*.rs"])).unwrap();
        for part in PARTS {
            let (package, _) = part.files[0].split_once("/src/").unwrap();
            // `mod a;` is a file, `mod a { … }` is here.
            for name in part.library.split(';').filter_map(|text| Some(text.rsplit_once("mod ")?.1)) {
                let is_it = |file: &str| {
                    let below = file.strip_prefix(package).and_then(|file| file.strip_prefix("/src/"));
                    let stem = below.and_then(|file| file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")));
                    stem.is_some_and(|stem| stem.rsplit('/').next() == Some(name))
                };
                assert!(name.contains('{') || files.lines().any(is_it), "{}: mod {name}", part.name);
            }
        }
    }
}
