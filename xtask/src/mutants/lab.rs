//! Runs cargo-mutants on one part at a time, in a copy of the tree. The crates of others are built once for each package, with the
//! features that it asks for by itself; a mutant then costs the compilation of one crate.
//!
//! Must not know: which survivors are accepted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    copy,
    parts::Part,
    results::{self, Mutant, Results},
};
use crate::{
    cargo::{Package, Workspace, cargo},
    environment,
    process::{Failure, Result, about, capture, line_of, signal, which},
    setup::{Tools, build_tools},
};

/// The slowest of these tests take seconds; one that takes this long has lost its way. Waiting for another build to release the target
/// folder counts, so none should run meanwhile.
const TEST_SECS_MAX: &str = "60";
/// On a cold and busy machine.
const BUILD_SECS_MAX: &str = "1200";
/// How often it is seen whether the time is up.
const LOOK: Duration = Duration::from_millis(100);

/// Where mutants are made.
pub(super) struct Lab {
    tool: PathBuf,
    tools: Tools,
    /// With the copy of the tree, the change, and what the tool writes.
    home: PathBuf,
    target: PathBuf,
    /// What is built for a mutant differs from what is built otherwise.
    wrapper: PathBuf,
    /// Only lines that differ from this revision.
    since: Option<String>,
    packages: Vec<Package>,
}

impl Lab {
    /// With a fresh copy of the tree; of a change, only what differs from the revision `since`.
    pub(super) fn new(tool: &Path, since: Option<&str>) -> Result<Self> {
        let Workspace { target, packages } = Workspace::read()?;
        let home = target.join("mutants");
        let wrapper = which("env").ok_or_else(|| Failure::message("`env` is not on the path"))?;
        copy::refresh(&home.join("tree"))?;
        let since = since.map(str::to_owned);
        Ok(Self { tool: tool.to_path_buf(), tools: build_tools()?, home, target, wrapper, since, packages })
    }

    /// The part's mutants.
    pub(super) fn list(&self, part: &Part) -> Result<Vec<Mutant>> {
        if let Some(revision) = &self.since {
            write_change(&self.change(), revision, part)?;
        }
        let text = capture(self.command(part).args(["--list", "--json"]))?;
        results::list(&text).map_err(|why| Failure::message(format!("cargo-mutants --list: {why}")))
    }

    /// Tries them, as they were listed last, until the deadline.
    pub(super) fn test(&self, part: &Part, deadline: Option<Instant>) -> Result<Results> {
        let output = self.home.join(part.name.replace(' ', "-"));
        let outcomes = output.join("mutants.out/outcomes.json");
        if outcomes.exists() {
            fs::remove_file(&outcomes).map_err(about(outcomes.display()))?;
        }
        fs::create_dir_all(&output).map_err(about(output.display()))?;
        let mut command = self.command(part);
        command.args(["--in-place", "--timeout", TEST_SECS_MAX, "--build-timeout", BUILD_SECS_MAX, "--output"]);
        // To build nothing else, too: what follows `--` counts only for the run.
        command.arg(&output).args(["--cargo-arg", "--lib", "--"]).args(part.tests);
        let whole = self.reduce(part)?;
        let code = run_until(&mut command, deadline);
        if let Some((library, content)) = whole {
            fs::write(&library, content).map_err(about(library.display()))?;
        }
        match code? {
            // All noticed; some not; some took too long; out of time. Each is told by its outcome.
            Some(0 | 2 | 3) | None => {}
            Some(code) => {
                let line = line_of(&command);
                return Err(Failure::message(format!("`{line}` failed with exit code {code}: nothing was measured")));
            }
        }
        // Where the time was up before the first build was done there is none.
        let Ok(text) = fs::read_to_string(&outcomes) else { return Ok(Results::default()) };
        results::outcomes(&text).map_err(|why| Failure::message(format!("{}: {why}", outcomes.display())))
    }

    /// Makes the library of the copy what the part needs. The library's file, and what was in it.
    fn reduce(&self, part: &Part) -> Result<Option<(PathBuf, String)>> {
        if part.library.is_empty() {
            return Ok(None);
        }
        let package = self.packages.iter().find(|package| package.name == part.package);
        let package = package.ok_or_else(|| Failure::message(format!("there is no package {}", part.package)))?;
        let library = self.home.join("tree").join(&package.folder).join("src/lib.rs");
        let content = fs::read_to_string(&library).map_err(about(library.display()))?;
        fs::write(&library, part.library).map_err(about(library.display()))?;
        Ok(Some((library, content)))
    }

    fn command(&self, part: &Part) -> Command {
        let tree = self.home.join("tree");
        let mut command = Command::new(&self.tool);
        // Of `cargo`, for its environment.
        for (name, value) in cargo(&self.tools).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(&tree).env("CARGO", environment::cargo()).env("CARGO_TARGET_DIR", &self.target);
        // Our own crates get names of their own by it, so that no mutant is ever taken for what `cargo test` built. Nothing else changes.
        command.env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper).env("CARGO_PROFILE_DEV_DEBUG", "none");
        command.env("AMENDS_TEST_BACKENDS", "embedded");
        command.args(["mutants", "--no-config", "--no-shuffle", "--package", part.package]);
        command.args(part.files.iter().flat_map(|glob| ["--file", glob]));
        if self.since.is_some() {
            command.arg("--in-diff").arg(self.change());
        }
        command
    }

    fn change(&self) -> PathBuf {
        self.home.join("change.diff")
    }
}

/// Writes what has changed of the part since a revision, committed or not.
fn write_change(file: &Path, revision: &str, part: &Part) -> Result {
    let files: Vec<String> = part.files.iter().map(|glob| format!(":(glob){glob}")).collect();
    let git = |arguments: &[&str]| {
        capture(Command::new("git").current_dir(environment::root()).args(arguments).arg("--").args(&files))
    };
    for new in git(&["ls-files", "--others", "--exclude-standard"])?.lines() {
        println!("*** NOT RUN: mutants of {new}: git does not know it yet ***");
    }
    let text = git(&["diff", "--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", revision])?;
    fs::write(file, text).map_err(about(file.display()))
}

/// The exit code; none where it was interrupted since the time was up.
fn run_until(command: &mut Command, deadline: Option<Instant>) -> Result<Option<i32>> {
    let line = line_of(command);
    eprintln!("$ {line}");
    let mut child = command.spawn().map_err(about(&line))?;
    let mut interrupted = false;
    loop {
        if let Some(status) = child.try_wait().map_err(about(&line))? {
            return match status.code() {
                _ if interrupted => Ok(None),
                Some(code) => Ok(Some(code)),
                None => Err(Failure::message(format!("`{line}` was ended by a signal"))),
            };
        }
        if !interrupted && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            // It ends what it has started, and puts the code back.
            interrupted = signal("INT", child.id());
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_interrupted() {
        let sleep = || Command::new("sleep");
        assert_eq!(run_until(sleep().arg("60"), Some(Instant::now())), Ok(None));
        assert_eq!(run_until(sleep().arg("0"), None), Ok(Some(0)));
    }
}
