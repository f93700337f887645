//! Running other programs: what failed is named with its command line, and exit codes are passed through.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::environment;

/// Why a command of this tool ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Said to the user.
    Message(String),
    /// A program said it already; we end with its code.
    Exit(u8),
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => out.write_str(message),
            Self::Exit(code) => write!(out, "exit code {code}"),
        }
    }
}

/// Says what an I/O error was about.
pub(crate) fn about<'a>(what: impl fmt::Display + 'a) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    move |error| Failure::message(format!("{what}: {error}"))
}

/// Runs a program on our terminal.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = line_of(command);
    eprintln!("$ {line}");
    let status = command.status().map_err(about(&line))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Exit(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::message(format!("`{line}` was ended by a signal"))),
    }
}

/// Runs a program on our terminal, but keeps it off standard output, which may be `eval`ed by a shell.
pub(crate) fn run_aside(command: &mut Command) -> Result {
    run(command.stdout(std::io::stderr()))
}

/// Runs a program silently and returns what it printed; its error output only when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.stdin(Stdio::null()).output().map_err(about(&line))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(Failure::message(format!("`{line}` failed: {}", error.trim())))
    }
}

/// Whether a program runs and succeeds. Prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    // The toolchain's own path says nothing to the reader.
    if let Some(name) = Path::new(&words[0]).file_name().filter(|name| *name == "cargo") {
        words[0] = name.to_string_lossy().into_owned();
    }
    words.join(" ")
}

/// The program's full path, looked up in `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    which_in(program, environment::search_path())
}

/// The program's full path, looked up in some folders.
pub(crate) fn which_in(program: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.into_iter().map(|folder| folder.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether we are root. PostgreSQL refuses to be; package managers want it.
pub(crate) fn is_root() -> bool {
    static IS_ROOT: OnceLock<bool> = OnceLock::new();
    *IS_ROOT.get_or_init(|| capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0"))
}

/// Sends a signal to a process we started. The standard library can only kill, and `unsafe` is forbidden here.
pub(crate) fn signal(name: &str, pid: u32) -> bool {
    succeeds(Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")))
}
