//! The commands that build something and run it.

use std::{num::NonZeroU32, process::Command};

use crate::{
    cargo::{Workspace, cargo},
    environment,
    packages::{self, Need},
    process::{Failure, Result, capture, run, which},
    proof::Report,
    servers::{self, Held, Spec},
    setup::{Tools, build_tools},
};

/// Builds the demo, from what the tests use too unless `--release` is asked for, and runs it.
pub(crate) fn demo(arguments: &[String]) -> Result {
    let (ours, theirs): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--release");
    let profile = if ours.is_empty() { Profile::Tests } else { Profile::Release };
    let program = profile.build(&build_tools()?, &["amends"])?.program(profile.folder(), "amends");
    run(Command::new(program).current_dir(environment::root()).arg("demo").args(theirs))
}

/// How programs are built, so that one command's crates are the next one's too.
#[derive(Debug, Clone, Copy)]
enum Profile {
    /// As tests are.
    Tests,
    /// Optimised: what is measured and delivered.
    Release,
}

impl Profile {
    /// Builds programs; the workspace, which knows where they are.
    fn build(self, tools: &Tools, programs: &[&str]) -> Result<Workspace> {
        let mut command = cargo(tools);
        command.arg("build");
        match self {
            // With the features of the whole workspace. Cargo counts those that only tests need when it builds a test: this one is small,
            // and needs no crate.
            Self::Tests => {
                command.args(["--workspace", "--test", "cli"]).args(programs.iter().flat_map(|name| ["--bin", name]));
            }
            // As they are delivered (`deploy/Dockerfile`): `amends` alone has the features of all services together, and none that only
            // tools need. Each has its package's name.
            Self::Release => {
                command.arg("--release").args(programs.iter().flat_map(|name| ["--package", name]));
            }
        }
        run(&mut command)?;
        Workspace::read()
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Tests => "debug",
            Self::Release => "release",
        }
    }
}

/// Runs `cargo test` on private servers.
pub(crate) fn test(arguments: &[String]) -> Result {
    let (ours, theirs): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--embedded-only");
    let embedded_only = !ours.is_empty();
    let tools = build_tools()?;
    let workspace = Workspace::read()?;
    // Before the build, so that a missing server is said in seconds and not after minutes.
    let located = servers::locate_for_tests(embedded_only)?;
    let selection = Selection::of(&theirs);
    if selection.wants_binaries() {
        build_all(&tools)?;
    }
    let held = Held::start(&located.specs, located.given)?;
    for (name, value) in &held.exports {
        eprintln!("{name}={value}");
    }
    let mut command = cargo(&tools);
    command.arg("test");
    if selection == Selection::Workspace {
        command.arg("--workspace");
    }
    command.args(&theirs).env("AMENDS_BIN_DIR", workspace.program("debug", ""));
    if embedded_only {
        command.env("AMENDS_TEST_BACKENDS", "embedded");
    }
    held.apply(&mut command);
    let report = Report::new()?;
    report.apply(&mut command);
    let mut result = run(&mut command);
    drop(held);
    if selection == Selection::Workspace && theirs.is_empty() {
        result = result.and_then(|()| whole_signatures(&tools));
    }
    eprint!("{}", report.not_run());
    if embedded_only {
        eprintln!(
            "\n*** NOT RUN (--embedded-only): every case on PostgreSQL, MongoDB and Redis: store conformance, the five-process \
             platform, their crash tests. A green result here says nothing about them. ***"
        );
    }
    result
}

/// Names the folder of Project Wycheproof's file of whole JSON Web Signatures, which is no part of this project.
const VECTORS: &str = "AMENDS_TEST_VECTORS";

/// Runs the one test that needs that file, or says that it was not run.
fn whole_signatures(tools: &Tools) -> Result {
    if environment::get(VECTORS).is_none() {
        eprintln!("*** NOT RUN: Wycheproof's whole JSON Web Signatures: {VECTORS} names no folder that has them ***");
        return Ok(());
    }
    run(cargo(tools).args(["test", "--workspace", "--lib", "whole_json_web_signatures", "--", "--ignored"]))
}

/// Everything that tests may execute, with the features that `cargo test --workspace` uses: one build, not two.
pub(crate) fn build_all(tools: &Tools) -> Result {
    run(cargo(tools).args(["build", "--workspace", "--bins", "--tests"]))
}

#[derive(Debug, PartialEq, Eq)]
enum Selection {
    Workspace,
    /// Packages that do not start our binaries.
    Libraries,
    /// Packages that do.
    Programs,
}

impl Selection {
    fn of(arguments: &[&String]) -> Self {
        let mut packages = Vec::new();
        let mut iterator = arguments.iter().take_while(|argument| *argument != &"--");
        while let Some(argument) = iterator.next() {
            match argument.as_str() {
                "-p" | "--package" => packages.extend(iterator.next().map(|name| name.as_str())),
                other => packages.extend(other.strip_prefix("--package=").or_else(|| other.strip_prefix("-p"))),
            }
        }
        match packages.as_slice() {
            [] => Self::Workspace,
            some if some.contains(&"amends-tests") => Self::Programs,
            _ => Self::Libraries,
        }
    }

    fn wants_binaries(&self) -> bool {
        *self != Self::Libraries
    }
}

/// The package and the test that make names and a page of the telemetry's registry.
const REGISTRY: (&str, &[&str]) = ("amends-registry", &["--test", "generated"]);

/// Makes the names and the page of telemetry from their registry, or with `--check` fails with what differs, as `test` does.
pub(crate) fn registry(arguments: &[String]) -> Result {
    let mode = match arguments {
        [] => "write",
        [flag] if flag == "--check" => "check",
        _ => return Err(Failure::message("say `cargo xtask registry` or `cargo xtask registry --check`")),
    };
    let (package, what) = REGISTRY;
    run(cargo(&build_tools()?).args(["test", "--package", package]).args(what).env("AMENDS_GEN", mode))
}

/// Rewrites what is generated and committed; the tests that compare it write instead.
pub(crate) fn generate() -> Result {
    let tools = build_tools()?;
    let generators: [(&str, &[&str]); 4] = [
        ("amends-protos", &["--test", "bootstrap"]),
        REGISTRY,
        ("order-service", &["--lib", "the_committed_document_is_current"]),
        // The consumers; what providers promise is verified, not generated.
        (
            "amends-tests",
            &[
                "--test",
                "contract",
                "--",
                "a_storefront_can_place_and_read_orders",
                "the_order_service_can_charge_and_compensate",
            ],
        ),
    ];
    for (package, what) in generators {
        run(cargo(&tools).args(["test", "--package", package]).args(what).env("AMENDS_GEN", "write"))?;
    }
    Ok(())
}

/// Crash tests, or those whose names have the first argument in them, more rounds than `test` runs.
pub(crate) fn chaos(arguments: &[String]) -> Result {
    let (which, arguments) = match arguments {
        [which, rest @ ..] if !which.starts_with('-') => (Some(which), rest),
        _ => (None, arguments),
    };
    let rounds = rounds(arguments, "chaos [TEST]", "20")?;
    let tools = build_tools()?;
    let located = servers::locate()?;
    build_all(&tools)?;
    let held = Held::start(&located.specs, located.given)?;
    let tests = ["test", "--workspace", "--test", "chaos", "--"];
    if let Some(which) = which {
        let listed = capture(cargo(&tools).args(tests).args(["--list", which]))?;
        if !listed.lines().any(|line| line.ends_with(": test")) {
            return Err(Failure::message(format!("no crash test has `{which}` in its name")));
        }
    }
    let mut command = cargo(&tools);
    command.args(tests).args(["--nocapture", "--include-ignored"]).args(which);
    command.env("AMENDS_CHAOS_ROUNDS", rounds).env("AMENDS_BIN_DIR", Workspace::read()?.program("debug", ""));
    held.apply(&mut command);
    run(&mut command)
}

/// The stores' races, so often that one miss in a thousand shows.
pub(crate) fn conformance(arguments: &[String]) -> Result {
    let rounds = rounds(arguments, "conformance", "1000")?;
    let tools = build_tools()?;
    let located = servers::locate_for_long()?;
    build_all(&tools)?;
    let held = Held::start(&located.specs, located.given)?;
    // Of the whole workspace, for its features: this way nothing is built twice.
    let suites: [&[&str]; 2] = [
        &["--lib", "--", "barrier::"],
        &["--test", "it", "--", "conformance::", "authorizations::", "barrier::", "processor::"],
    ];
    for which in suites {
        let mut command = cargo(&tools);
        command.args(["test", "--workspace"]).args(which).arg("--nocapture").env("AMENDS_CONFORMANCE_ROUNDS", rounds);
        held.apply(&mut command);
        run(&mut command)?;
    }
    Ok(())
}

/// The one argument of what can be run for longer.
fn rounds<'a>(arguments: &'a [String], command: &str, default: &'a str) -> Result<&'a str> {
    match arguments {
        [] => Ok(default),
        [flag, rounds] if flag == "--rounds" && rounds.parse::<NonZeroU32>().is_ok() => Ok(rounds),
        _ => Err(Failure::message(format!("say `cargo xtask {command}` or `cargo xtask {command} --rounds N`"))),
    }
}

/// Measures the parts; `load` measures the whole.
pub(crate) fn bench(arguments: &[String]) -> Result {
    let tools = build_tools()?;
    let located = servers::locate()?;
    let held = Held::start(&located.specs, located.given)?;
    let mut command = cargo(&tools);
    // By glob: `--benches` would also build every library and program once more, to find no bench in them.
    let every = ["bench", "--workspace", "--bench", "*"];
    match arguments {
        [package, ..] if package.starts_with("-p") => command.arg("bench").args(arguments),
        _ => command.args(every).args(arguments),
    };
    held.apply(&mut command);
    run(&mut command)
}

/// What `load --distributed` starts: each service and the bank; and the program for operators.
const SERVICES: [&str; 7] =
    ["amends", "gateway", "identity-service", "order-service", "payment-service", "inventory-service", "acquirer"];
/// Puts them on servers.
const ON_SERVERS: &str = "on-servers";

/// Goose against a fresh instance of everything: in one process, or with `--distributed` as five on private servers. With `--curve` the
/// overload curve instead, of one process and of five, drawn below `target`, or with `--write` beside the page that shows it.
pub(crate) fn load(arguments: &[String]) -> Result {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let ours = ["--smoke", "--distributed", "--write"];
    let theirs: Vec<&String> = arguments.iter().filter(|argument| !ours.contains(&argument.as_str())).collect();
    if !has("--curve") {
        return load_one(has("--smoke"), has("--distributed"), &theirs);
    }
    // One process needs no servers, and is what most look at: it comes first, and alone where five cannot be started.
    let mut result = Ok(());
    for (distributed, name) in [(false, "one process"), (true, "five processes")] {
        if distributed || !has("--distributed") {
            let drawing = drawing(name, has("--write"));
            let arguments = theirs.iter().copied().chain(&drawing).collect::<Vec<_>>();
            // A mark that one of them misses is no reason not to look at the other.
            result = result.and(load_one(has("--smoke"), distributed, &arguments));
        }
    }
    result
}

/// How a curve is called and where it goes: below `target`, or beside the page that shows it.
fn drawing(name: &str, is_shown: bool) -> Vec<String> {
    let folder = if is_shown { "docs" } else { "target" };
    let svg = format!("{folder}/overload-{}.svg", name.replace(' ', "-"));
    let mut drawing = vec!["--svg".to_owned(), svg, "--name".to_owned(), name.to_owned()];
    if is_shown {
        drawing.extend(["--page".to_owned(), "docs/resilience.md".to_owned()]);
    }
    drawing
}

fn load_one(smoke: bool, distributed: bool, theirs: &[&String]) -> Result {
    let tools = build_tools()?;
    let profile = if smoke { Profile::Tests } else { Profile::Release };
    profile.build(&tools, &["amends-loadtests"])?;
    let workspace = profile.build(&tools, if distributed { &SERVICES } else { &["amends"] })?;
    if distributed {
        Profile::Tests.build(&tools, &[ON_SERVERS])?;
    }
    let profile = profile.folder();
    let load = workspace.program(profile, "amends-loadtests");
    let direct = |command: &mut Command| {
        // The load's own client would take its road through them.
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
    };
    let (held, mut command) = if distributed {
        let located = servers::locate()?;
        let mut command = Command::new(workspace.program(Profile::Tests.folder(), ON_SERVERS));
        command.arg(load).env("AMENDS_BIN_DIR", workspace.program(profile, ""));
        (Held::start(&located.specs, located.given)?, command)
    } else {
        let amends = Spec::Amends(workspace.program(profile, "amends"));
        (Held::start(&[amends], Vec::new())?, Command::new(load))
    };
    command.current_dir(environment::root()).args(smoke.then_some("--smoke")).args(theirs);
    direct(&mut command);
    held.apply(&mut command);
    run(&mut command)
}

/// What customers see of each fault; `--smoke` is debug and short.
pub(crate) fn drill(arguments: &[String]) -> Result {
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let theirs: Vec<&String> = arguments.iter().filter(|argument| *argument != "--smoke").collect();
    let tools = build_tools()?;
    let profile = if smoke { Profile::Tests } else { Profile::Release };
    profile.build(&tools, &["amends"])?;
    let workspace = Profile::Tests.build(&tools, &["drill"])?;
    let mut command = Command::new(workspace.program(Profile::Tests.folder(), "drill"));
    command.current_dir(environment::root()).env("AMENDS_BIN_DIR", workspace.program(profile.folder(), ""));
    run(command.args(smoke.then_some(["--seconds", "1"]).into_iter().flatten()).args(theirs))
}

/// What an order costs in statements, commits, calls, writes and allocations, held by `price.toml`: in one process, or with
/// `--distributed` in five on private servers. Built as tests are: the figures are of that build. `--instructions` are counted by valgrind,
/// of the optimised build.
pub(crate) fn price(arguments: &[String]) -> Result {
    let distributed = arguments.iter().any(|argument| argument == "--distributed");
    let instructions = arguments.iter().any(|argument| argument == "--instructions");
    let tools = build_tools()?;
    if instructions && which("valgrind").is_none() {
        packages::install(&[Need::Valgrind])?;
    }
    let profile = if instructions { Profile::Release } else { Profile::Tests };
    let located = if distributed { Some(servers::locate()?) } else { None };
    profile.build(&tools, if distributed { &SERVICES } else { &["amends"] })?;
    let workspace = Profile::Tests.build(&tools, &["price"])?;
    let mut command = Command::new(workspace.program(Profile::Tests.folder(), "price"));
    command.current_dir(environment::root()).env("AMENDS_BIN_DIR", workspace.program(profile.folder(), ""));
    let held = located.map(|located| Held::start(&located.specs, located.given)).transpose()?;
    if let Some(held) = &held {
        held.apply(&mut command);
    }
    run(command.args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_beside_their_page_where_they_are_written() {
        assert_eq!(drawing("one process", false).join(" "), "--svg target/overload-one-process.svg --name one process");
        let shown = "--svg docs/overload-one-process.svg --name one process --page docs/resilience.md";
        assert_eq!(drawing("one process", true).join(" "), shown);
    }

    #[test]
    fn only_tests_that_start_programs_build_them_first() {
        let of = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Selection::of(&words.iter().collect::<Vec<_>>())
        };
        assert_eq!(of(""), Selection::Workspace);
        assert_eq!(of("money -- -p x"), Selection::Workspace);
        assert_eq!(of("-p amends-sql money"), Selection::Libraries);
        assert_eq!(of("--package=amends-sql -p amends-tests"), Selection::Programs);
    }
}
