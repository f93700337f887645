//! Child processes of a test: started with their output in a file, stopped by their own id, never left behind.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::process::{Child, Command};

/// How a program is started: under which environment and behind which other program, and where its output goes.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Variables that it gets besides those of the test.
    pub environment: Vec<(String, String)>,
    /// Words before the program: another program that ends by becoming it, so that it keeps the process id.
    pub wrapper: Vec<String>,
    /// Where it prints.
    pub output: Output,
}

/// Where a program prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// Into a file that the test can read.
    #[default]
    Log,
    /// Into pipes that are open and not read.
    UnreadPipes,
}

impl Launch {
    /// With one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Behind a shell that does this first, such as `ulimit -n 64`.
    #[must_use]
    pub fn after_shell(mut self, commands: &str) -> Self {
        let script = format!("{commands} && exec \"$0\" \"$@\"");
        self.wrapper = ["sh".to_owned(), "-c".to_owned(), script].to_vec();
        self
    }
}

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it prints is appended to `<name>.log` in `dir`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        launch: &Launch,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let mut command = match launch.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        match launch.output {
            Output::Log => {
                let output = File::options().create(true).append(true).open(&log)?;
                command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output));
            }
            Output::UnreadPipes => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let child = command
            .args(arguments)
            .envs(launch.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(dir)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Ends the program at once, as a crash would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Sends a signal by number name, for example `STOP`, `CONT` or `TERM`.
    ///
    /// # Errors
    /// When the program is gone or the signal cannot be sent.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.child.id().with_context(|| format!("{} is gone", self.name))?;
        let sent = Command::new("kill").args([format!("-{signal}"), id.to_string()]).status().await?;
        anyhow::ensure!(sent.success(), "cannot send {signal} to {}", self.name);
        Ok(())
    }

    /// Asks the program to stop (SIGTERM) and waits for it; its exit code.
    ///
    /// # Errors
    /// When it does not stop within `bound`.
    pub async fn stop(&mut self, bound: Duration) -> anyhow::Result<Option<i32>> {
        self.signal("TERM").await?;
        let stopped = tokio::time::timeout(bound, self.child.wait()).await;
        Ok(stopped.with_context(|| format!("{} did not stop within {bound:?}:\n{}", self.name, self.tail()))??.code())
    }

    /// Waits until it ends by itself; its exit code, `None` where a signal ended it.
    ///
    /// # Errors
    /// When it does not end within `bound`.
    pub async fn ended(&mut self, bound: Duration) -> anyhow::Result<Option<i32>> {
        let ended = tokio::time::timeout(bound, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} still runs after {bound:?}:\n{}", self.name, self.tail()))??.code())
    }

    /// Its id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines it printed, for a failure message.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// All it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Where the programs of this workspace are: `AMENDS_BIN_DIR`, else the folder above the test binary that has them.
///
/// # Panics
/// When they have not been built.
pub fn program(name: &str) -> PathBuf {
    let given = crate::setting("AMENDS_BIN_DIR").map(PathBuf::from);
    let mut candidates: Vec<PathBuf> = given.into_iter().collect();
    let test_binary = std::env::current_exe().expect("a test knows its own path");
    candidates.extend(test_binary.ancestors().skip(1).take(7).map(Path::to_path_buf));
    let found = candidates.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `cargo build --workspace` first, or `cargo xtask test`, which does")
    })
}

/// Asks again and again, for `bound` at the most, until `condition` holds.
///
/// # Errors
/// When the bound is over.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition().await {
        anyhow::ensure!(begun.elapsed() < bound, "waited {bound:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Ends a server of this test run as a crash would (SIGKILL); `cargo xtask` starts it again, on the data it had. Where it runs
/// is in the file that the variable names; `None` where the variable is not set, as with a server in a container.
///
/// # Errors
/// When it cannot be ended.
pub async fn crash_server(pid_variable: &str) -> anyhow::Result<Option<()>> {
    let Some(pid) = server_process(pid_variable)? else { return Ok(None) };
    let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).status().await?;
    anyhow::ensure!(sent.success(), "cannot kill {pid} ({pid_variable})");
    Ok(Some(()))
}

/// The process of a server that `cargo xtask` started, whose id is in the file that the variable names; `None` where the variable is not set.
///
/// # Errors
/// When the file cannot be read.
pub fn server_process(pid_variable: &str) -> anyhow::Result<Option<u32>> {
    let Some(file) = crate::setting(pid_variable) else { return Ok(None) };
    let pid = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    Ok(Some(pid.trim().parse().with_context(|| file.clone())?))
}

/// A loopback port that is free, given out once in this process, and below the ports that systems lend to outgoing connections:
/// a program that is killed finds it free again. (Bound to port 0, it would be one that any connection may take meanwhile.)
///
/// # Panics
/// When the machine has no free port.
pub fn free_port() -> u16 {
    /// From here on, wrapping, whatever other processes' tests have drawn.
    const RANGE: std::ops::Range<u32> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    for _ in RANGE {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(RANGE.start + step % (RANGE.end - RANGE.start)).unwrap_or_default();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {RANGE:?} is free")
}
