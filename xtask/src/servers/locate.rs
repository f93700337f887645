//! Finds the servers' programs, or installs them. What cannot be had is an error that names it: nothing is skipped silently.

use std::{fs, path::PathBuf, process::Command};

use super::{MONGODB_URI, POSTGRES_URL, REDIS_URL, spec::Spec};
use crate::{
    cache::{self, Crate},
    environment,
    packages::{self, Need},
    process::{Failure, Result, about, capture, run_aside, succeeds, which, which_in},
};

/// What must be started, and what is already running.
#[derive(Debug, Default)]
pub(crate) struct Located {
    pub(crate) specs: Vec<Spec>,
    pub(crate) given: Vec<(String, String)>,
}

/// The variables that may name a running one, and how to find the program.
type Wanted = (&'static [&'static str], fn() -> Result<Spec>);

/// Looks for all three; every one that is missing is named, not only the first.
pub(crate) fn locate() -> Result<Located> {
    locate_all(mongodb)
}

/// The same, with the stand-in for MongoDB that takes minutes to build and then does three times as much: for what runs for long.
pub(crate) fn locate_for_long() -> Result<Located> {
    locate_all(mongodb_for_long)
}

fn locate_all(mongodb: fn() -> Result<Spec>) -> Result<Located> {
    let mut located = Located::default();
    let mut missing = Vec::new();
    let wanted: [Wanted; 3] =
        [(&[POSTGRES_URL], postgres), (&[REDIS_URL], redis), (&[MONGODB_URI, "MONGODB_URI"], mongodb)];
    for (names, find) in wanted {
        if let Some(url) = names.iter().find_map(|name| environment::get(name)) {
            located.given.push((names[0].to_owned(), url));
            continue;
        }
        match find() {
            Ok(spec) => located.specs.push(spec),
            Err(why) => missing.push(format!("  {why}\n    or set {} to the address of a running one", names[0])),
        }
    }
    if missing.is_empty() {
        return Ok(located);
    }
    Err(Failure::message(format!("the tests need servers that are not here:\n{}", missing.join("\n"))))
}

/// The same, unless only the embedded stores are to be tested.
pub(crate) fn locate_for_tests(embedded_only: bool) -> Result<Located> {
    if embedded_only { Ok(Located::default()) } else { locate() }
}

fn postgres() -> Result<Spec> {
    let find = || postgres_folders().into_iter().find(|folder| which_in("initdb", [folder.clone()]).is_some());
    found_or_installed(Need::Postgres, find).map(Spec::Postgres)
}

/// Debian keeps the servers of all versions beside each other and off the path; so do others.
fn postgres_folders() -> Vec<PathBuf> {
    let mut folders = environment::search_path();
    if let Ok(folder) = capture(Command::new("pg_config").arg("--bindir")) {
        folders.push(folder.trim().into());
    }
    let parents = ["/usr/lib/postgresql", "/usr/libexec", "/usr/lib", "/opt/homebrew/opt", "/usr/local/opt"];
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for entry in parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let version = name.trim_start_matches("postgresql").trim_start_matches('@').trim_start_matches('-');
        if let Ok(version) = version.parse() {
            versions.push((version, entry.path()));
        }
    }
    versions.sort();
    let newest_first = versions.into_iter().rev().map(|(_, path)| path);
    folders.extend(newest_first.flat_map(|path| [path.join("bin"), path]));
    folders
}

fn redis() -> Result<Spec> {
    let standard = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    let folders = || environment::search_path().into_iter().chain(standard.map(PathBuf::from));
    let find = || which_in("redis-server", folders()).or_else(|| which_in("valkey-server", folders()));
    found_or_installed(Need::Redis, find).map(Spec::Redis)
}

fn found_or_installed(need: Need, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    packages::install(&[need])?;
    find().ok_or_else(|| Failure::message(format!("{} was installed, but is not found", need.name())))
}

/// The genuine server where there is one. No registry has it, so otherwise one that speaks its protocol.
fn mongodb() -> Result<Spec> {
    if let Some(mongod) = which("mongod") {
        return Ok(Spec::Mongod(mongod));
    }
    secantus()
        .map(Spec::Secantus)
        .map_err(|why| Failure::message(format!("a MongoDB server (mongod, or SecantusDB by pip) is missing: {why}")))
}

fn mongodb_for_long() -> Result<Spec> {
    match which("mongod") {
        Some(mongod) => Ok(Spec::Mongod(mongod)),
        None => SECANTUS_RS.install().map(Spec::SecantusRs),
    }
}

/// A beta by one author under the GPL: a separate process for tests, never linked, and this version only.
const SECANTUS: &str = "SecantusDB==0.7.0b3";

fn secantus() -> Result<PathBuf> {
    let (home, _lock) = cache::folder(&SECANTUS.replace("==", "-"))?;
    let (python, complete) = (home.join("bin/python3"), home.join("complete"));
    if complete.is_file() && succeeds(Command::new(&python).args(["-c", "import secantus"])) {
        return Ok(python);
    }
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        packages::install(&[Need::Python])?;
    }
    eprintln!("installing {SECANTUS} into {}", home.display());
    let _stale = fs::remove_dir_all(&home);
    run_aside(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    run_aside(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        SECANTUS,
    ]))?;
    fs::write(&complete, "").map_err(about(complete.display()))?;
    Ok(python)
}

/// The same author's server in Rust, under the same terms; again this version only.
const SECANTUS_RS: Crate =
    Crate { name: "secantus-mdb", version: "0.5.3-beta.196", program: "secantusd-rs", takes: "some ten minutes" };
