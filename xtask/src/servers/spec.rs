//! How each server is started, how one sees that it answers, and how it is asked to stop.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, chown},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{MONGODB_URI, POSTGRES_URL, REDIS_URL, detached, mongo, probe};
use crate::{
    files::write_whole,
    process::{Failure, Result, about, capture, is_root, signal},
};

/// On a loaded two-core machine initdb alone has been seen to take eight seconds.
const START_MAX: Duration = Duration::from_mins(1);
/// A server that has not ended by then is killed; what it holds is thrown away anyway.
const STOP_MAX: Duration = Duration::from_secs(10);

/// In a server's folder.
const LOG_FILE: &str = "log";
const PID_FILE: &str = "pid";

/// A name and what it makes of a program.
type Kind = (&'static str, fn(PathBuf) -> Spec);

/// A server and the program that is it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spec {
    /// The folder with `initdb` and `postgres`.
    Postgres(PathBuf),
    /// `redis-server`.
    Redis(PathBuf),
    /// The genuine `mongod`.
    Mongod(PathBuf),
    /// The Python of the virtual environment that SecantusDB is installed in.
    Secantus(PathBuf),
    /// The same in Rust: `secantusd-rs`.
    SecantusRs(PathBuf),
    /// Our own binary, for load tests: every service in one process.
    Amends(PathBuf),
}

impl Spec {
    const KINDS: [Kind; 6] = [
        ("postgres", Self::Postgres),
        ("redis", Self::Redis),
        ("mongod", Self::Mongod),
        ("secantus", Self::Secantus),
        ("secantus-rs", Self::SecantusRs),
        ("amends", Self::Amends),
    ];

    /// As an argument of the keeper.
    pub(crate) fn encode(&self) -> String {
        format!("{}={}", self.kind(), self.path().display())
    }

    pub(crate) fn decode(argument: &str) -> Option<Self> {
        let (kind, path) = argument.split_once('=')?;
        let (_, make) = Self::KINDS.iter().find(|(name, _)| *name == kind)?;
        Some(make(path.into()))
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Mongod(_) => "mongod",
            Self::Secantus(_) => "secantus",
            Self::SecantusRs(_) => "secantus-rs",
            Self::Amends(_) => "amends",
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Postgres(path)
            | Self::Redis(path)
            | Self::Mongod(path)
            | Self::Secantus(path)
            | Self::SecantusRs(path)
            | Self::Amends(path) => path,
        }
    }

    /// Starts it on a free port, its data in a folder of its own under `dir`, and waits until it answers.
    pub(crate) fn start(&self, dir: &Path) -> Result<Running> {
        let home = dir.join(self.kind());
        fs::create_dir_all(&home).map_err(about(home.display()))?;
        if let Self::Postgres(bin) = self {
            init_postgres(bin, &home, &home.join("data"))?;
        }
        let port = free_port()?;
        let (_, mut exports) = self.command(&home, port)?;
        exports.push((self.pid_variable(), home.join(PID_FILE).display().to_string()));
        let mut running = Running { child: self.launch(&home, port)?, spec: self.clone(), home, port, exports };
        running.wait_until_it_answers()?;
        Ok(running)
    }

    fn launch(&self, home: &Path, port: u16) -> Result<Child> {
        let (mut command, _) = self.command(home, port)?;
        let log = home.join(LOG_FILE);
        let output = File::options().create(true).append(true).open(&log).map_err(about(log.display()))?;
        let error = output.try_clone().map_err(about(log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(error).spawn().map_err(about(self.kind()))?;
        let pid_file = home.join(PID_FILE);
        // Tests that kill the server read it, also while it is started again.
        write_whole(&pid_file, &child.id().to_string())?;
        Ok(child)
    }

    /// Names the file with the server's process id, for tests that kill it; the keeper starts it again.
    fn pid_variable(&self) -> String {
        let server = match self {
            Self::Mongod(_) | Self::Secantus(_) | Self::SecantusRs(_) => "MONGODB".to_owned(),
            other => other.kind().to_uppercase(),
        };
        format!("AMENDS_TEST_{server}_PID_FILE")
    }

    fn command(&self, home: &Path, port: u16) -> Result<(Command, Vec<(String, String)>)> {
        let export = |name: &str, value: String| vec![(name.to_owned(), value)];
        let port_text = port.to_string();
        match self {
            Self::Postgres(bin) => {
                let mut command = as_unprivileged_user(detached(bin.join("postgres")))?;
                command.current_dir(home).arg("-D").arg(home.join("data"));
                // Durability stays on: it is what we test. Each test has a database and pools of its own, hence the connections.
                for setting in [
                    "listen_addresses=127.0.0.1",
                    &format!("port={port}"),
                    "unix_socket_directories=",
                    "max_connections=500",
                    "shared_buffers=64MB",
                    // A test reads the log back; others' checkpoints must not have removed it by then.
                    "wal_keep_size=256MB",
                ] {
                    command.args(["-c", setting]);
                }
                Ok((command, export(POSTGRES_URL, format!("postgres://postgres@127.0.0.1:{port}/postgres"))))
            }
            Self::Redis(server) => {
                let mut command = detached(server);
                command.current_dir(home).args([
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port_text,
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ]);
                Ok((command, export(REDIS_URL, format!("redis://127.0.0.1:{port}/0"))))
            }
            Self::Mongod(server) => {
                let mut command = detached(server);
                command.args([
                    "--replSet",
                    mongo::REPLICA_SET,
                    "--bind_ip",
                    "127.0.0.1",
                    "--port",
                    &port_text,
                    "--dbpath",
                ]);
                command.arg(home);
                Ok((command, export(MONGODB_URI, mongo_uri(port))))
            }
            Self::Secantus(program) | Self::SecantusRs(program) => {
                let mut command = detached(program);
                if matches!(self, Self::Secantus(_)) {
                    command.arg(program.with_file_name("secantusd-py"));
                }
                command.args(["--host", "127.0.0.1", "--port", &port_text, "--storage-path"]).arg(home.join("data"));
                // Without it a killed server forgets writes it has acknowledged.
                command.arg("--sync-on-commit");
                Ok((command, export(MONGODB_URI, mongo_uri(port))))
            }
            Self::Amends(program) => {
                let mut command = detached(program);
                command.arg("up").arg("--data-dir").arg(home.join("data"));
                command.args(["--set", &format!("gateway.listen=127.0.0.1:{port}")]);
                for listener in ["identity.http", "order.http", "order.grpc", "payment.grpc", "inventory.grpc", "admin"]
                {
                    command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
                }
                // All customers of a load test have one address, and are one subject: no share of a caller is what is looked at.
                for setting in [
                    "gateway.rate_limit.enabled=false",
                    "gateway.limits.requests_per_subject=4096",
                    "gateway.limits.connections_per_address=4096",
                ] {
                    command.args(["--set", setting]);
                }
                command.env("AMENDS_DEMO_PASSWORD", LOAD_PASSWORD);
                let mut exports = export("AMENDS_LOAD_HOST", format!("http://127.0.0.1:{port}"));
                exports.extend(export("AMENDS_LOAD_PASSWORD", LOAD_PASSWORD.to_owned()));
                Ok((command, exports))
            }
        }
    }

    fn answers(&self, address: SocketAddr) -> bool {
        match self {
            Self::Postgres(_) => probe::postgres(address),
            Self::Redis(_) => probe::redis(address),
            Self::Mongod(_) => mongo::ready_or_initiated(address),
            Self::Secantus(_) | Self::SecantusRs(_) => mongo::is_primary(address),
            Self::Amends(_) => probe::http_ok(address, "/readyz"),
        }
    }
}

/// Guards nothing but a throw-away instance on the loopback interface.
const LOAD_PASSWORD: &str = "load-test-only";

fn mongo_uri(port: u16) -> String {
    format!("mongodb://127.0.0.1:{port}/?directConnection=true")
}

/// A free port below those that systems lend to outgoing connections, and given to no other server of this process.
fn free_port() -> Result<u16> {
    const RANGE: std::ops::Range<u32> = 9_000..12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(31);
    for _ in RANGE {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(RANGE.start + step % (RANGE.end - RANGE.start)).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::message(format!("no port of {RANGE:?} is free")))
}

fn init_postgres(bin: &Path, home: &Path, data: &Path) -> Result {
    if is_root() {
        let (user, group) = unprivileged()?;
        chown(home, Some(user), Some(group)).map_err(about(home.display()))?;
    }
    let mut command = as_unprivileged_user(Command::new(bin.join("initdb")))?;
    command.current_dir(home).arg("-D").arg(data);
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]);
    capture(&mut command).map(|_| ())
}

/// PostgreSQL refuses to run as root.
fn as_unprivileged_user(mut command: Command) -> Result<Command> {
    if is_root() {
        let (user, group) = unprivileged()?;
        command.uid(user).gid(group).env("HOME", "/");
    }
    Ok(command)
}

/// The ids of `postgres`, where its package made that user, else of the system's user without rights.
fn unprivileged() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").map_err(about("/etc/passwd"))?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .ok_or_else(|| Failure::message("no user to run PostgreSQL as: add `nobody`"))
}

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Running {
    spec: Spec,
    child: Child,
    home: PathBuf,
    port: u16,
    pub(crate) exports: Vec<(String, String)>,
}

impl Running {
    fn wait_until_it_answers(&mut self) -> Result {
        let (started, address) = (Instant::now(), SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        while !self.spec.answers(address) {
            let kind = self.spec.kind();
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::message(format!("{kind} ended at once ({status}):\n{}", self.log_end())));
            }
            if started.elapsed() > START_MAX {
                let log = self.log_end();
                let _killed = self.child.kill();
                let _reaped = self.child.wait();
                return Err(Failure::message(format!("{kind} does not answer after {START_MAX:?}:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    /// Starts it again, on its data and port, where a test has killed it. Where that fails, the next look tries once more: PostgreSQL
    /// refuses until the last process of the one before is gone.
    pub(crate) fn revive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            eprintln!("{} ended ({status}); starting it again", self.spec.kind());
            match self.spec.launch(&self.home, self.port) {
                Ok(child) => self.child = child,
                Err(why) => eprintln!("{} could not be started again: {why}", self.spec.kind()),
            }
        }
    }

    /// Asks it to stop, then makes it. Says so when it was gone already, since that explains failed tests.
    pub(crate) fn stop(mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let kind = self.spec.kind();
            eprintln!("warning: {kind} ended by itself ({status}) while it was needed:\n{}", self.log_end());
            return;
        }
        // For PostgreSQL: disconnect all clients. TERM would wait for them.
        signal(if matches!(self.spec, Spec::Postgres(_)) { "INT" } else { "TERM" }, self.child.id());
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }

    fn log_end(&self) -> String {
        let bytes = fs::read(self.home.join(LOG_FILE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A folder of our own for what servers keep, that PostgreSQL's user may pass through.
pub(crate) fn scratch() -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let dir = std::env::temp_dir().join(format!("amends-servers-{}-{nanos}", std::process::id()));
    fs::create_dir(&dir).map_err(about(dir.display()))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).map_err(about(dir.display()))?;
    // A folder that another user put there first is not ours to fill.
    let owner = dir.metadata().map_err(about(dir.display()))?.uid();
    let me: u32 = capture(Command::new("id").arg("-u"))?.trim().parse().unwrap_or(owner);
    if owner == me { Ok(dir) } else { Err(Failure::message(format!("{} belongs to somebody else", dir.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_the_keeper_is_read_back_as_it_was() {
        for (_, make) in Spec::KINDS {
            let spec = make(PathBuf::from("/opt/a=b/bin"));
            assert_eq!(Spec::decode(&spec.encode()), Some(spec));
        }
        assert_eq!(Spec::decode("oracle=/bin"), None);
    }
}
