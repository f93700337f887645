//! The servers that tests need: where their programs are, and how this tool's commands hold them.
//!
//! A server is never this process's own child. A *keeper* (this program again, in a process group of its own) starts it and stops it
//! as soon as the pipe to us closes, whatever ended us: an error, Ctrl-C, `kill -9`.

pub(crate) mod keeper;
mod locate;
mod mongo;
mod probe;
mod spec;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub(crate) use locate::{locate, locate_for_long, locate_for_tests};
pub(crate) use spec::Spec;

use crate::{
    environment,
    files::write_whole,
    process::{Failure, Result, about},
};

/// Variables that tell the tests where the servers are.
pub(crate) const POSTGRES_URL: &str = "AMENDS_TEST_POSTGRES_URL";
pub(crate) const REDIS_URL: &str = "AMENDS_TEST_REDIS_URL";
pub(crate) const MONGODB_URI: &str = "AMENDS_TEST_MONGODB_URI";

/// Running servers. Dropping it stops them and waits until they are gone.
#[derive(Debug)]
pub(crate) struct Held {
    keeper: Option<Child>,
    /// Name and value of what the servers' users must know.
    pub(crate) exports: Vec<(String, String)>,
}

impl Held {
    pub(crate) fn start(specs: &[Spec], given: Vec<(String, String)>) -> Result<Self> {
        let mut held = Self { keeper: None, exports: given };
        if !specs.is_empty() {
            let mut keeper = keeper::command(specs, None)?.stdin(Stdio::piped()).spawn().map_err(about("keeper"))?;
            let said = exports_of(&mut keeper);
            held.keeper = Some(keeper);
            held.exports.extend(said?);
        }
        Ok(held)
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        command.envs(self.exports.iter().map(|(name, value)| (name, value)));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ended = keeper.wait();
        }
    }
}

/// Reads what the keeper says until the servers are ready. It explains a failure on the terminal itself.
fn exports_of(keeper: &mut Child) -> Result<Vec<(String, String)>> {
    let mut exports = Vec::new();
    if let Some(output) = keeper.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(about("keeper"))?;
            match line.split_once('=') {
                Some((name, value)) => exports.push((name.to_owned(), value.to_owned())),
                None if line == keeper::READY => return Ok(exports),
                None => {}
            }
        }
    }
    let _ended = keeper.wait();
    Err(Failure::message("the servers did not start"))
}

/// `services up|down|status`.
pub(crate) fn services(arguments: &[String]) -> Result {
    let dir = environment::services_dir();
    match arguments.first().map(String::as_str) {
        Some("up") => up(&dir),
        Some("down") => down(&dir),
        Some("status") => status(&dir),
        _ => Err(Failure::message("say `cargo xtask services up`, `down` or `status`")),
    }
}

fn up(dir: &Path) -> Result {
    fs::create_dir_all(dir).map_err(about(dir.display()))?;
    if UnixStream::connect(socket(dir)).is_err() {
        let located = locate()?;
        let log = File::create(dir.join("keeper.log")).map_err(about(dir.display()))?;
        let _stale = fs::remove_file(socket(dir));
        let mut command = keeper::command(&located.specs, Some(&socket(dir)))?;
        let mut keeper = command.stdin(Stdio::null()).stderr(log).spawn().map_err(about("keeper"))?;
        let exports = exports_of(&mut keeper).map_err(|why| {
            let log = fs::read_to_string(dir.join("keeper.log")).unwrap_or_default();
            Failure::message(format!("{why}\n{log}"))
        })?;
        let all = located.given.iter().chain(&exports);
        let lines: Vec<String> = all.map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        write_whole(&exports_file(dir), &lines.concat())?;
    }
    status(dir)
}

fn down(dir: &Path) -> Result {
    match UnixStream::connect(socket(dir)) {
        Ok(mut keeper) => {
            // Any byte means "stop"; the connection closes when the servers are gone.
            std::io::Write::write_all(&mut keeper, b"x").map_err(about("keeper"))?;
            let _closed = keeper.read_to_end(&mut Vec::new());
            eprintln!("stopped");
        }
        Err(_) => eprintln!("no services are running"),
    }
    let _gone = fs::remove_file(exports_file(dir));
    Ok(())
}

fn status(dir: &Path) -> Result {
    match (UnixStream::connect(socket(dir)), fs::read_to_string(exports_file(dir))) {
        (Ok(_), Ok(exports)) => {
            print!("{exports}");
            Ok(())
        }
        _ => Err(Failure::message("no services are running; `cargo xtask services up` starts them")),
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("keeper.sock")
}

fn exports_file(dir: &Path) -> PathBuf {
    dir.join("exports")
}

/// A process that a Ctrl-C on our terminal does not reach: its owner ends it in order.
fn detached(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    command
}
