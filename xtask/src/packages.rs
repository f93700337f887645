//! The system's package manager: what our needs are called there, and how to install them when we may.

use std::process::Command;

use crate::process::{Failure, Result, is_root, run_aside, succeeds, which};

/// Something that comes from the system, not from cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The gateway's zlib-ng is configured by it.
    Cmake,
    /// For the cryptography, SQLite and the linker.
    CCompiler,
    /// What cmake generates for.
    Make,
    Postgres,
    Redis,
    /// For the MongoDB-wire server, which is a Python package.
    Python,
    /// Sets the clock of one program.
    Faketime,
    /// Mounts a small disk.
    UtilLinux,
    /// Counts instructions.
    Valgrind,
    /// `prometheus` and `promtool`.
    Prometheus,
    /// `amtool`.
    Alertmanager,
}

impl Need {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cmake => "cmake",
            Self::CCompiler => "a C compiler (cc)",
            Self::Make => "make",
            Self::Postgres => "PostgreSQL (initdb, postgres)",
            Self::Redis => "Redis (redis-server)",
            Self::Python => "Python 3 with venv",
            Self::Faketime => "libfaketime",
            Self::UtilLinux => "mount",
            Self::Valgrind => "valgrind",
            Self::Prometheus => "Prometheus (prometheus, promtool)",
            Self::Alertmanager => "Alertmanager (amtool)",
        }
    }
}

#[derive(Debug)]
struct Manager {
    program: &'static str,
    install: &'static [&'static str],
    /// Run when an install failed: the lists of a fresh container are empty.
    refresh: Option<&'static [&'static str]>,
    needs_root: bool,
    package: fn(Need) -> &'static str,
}

const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        install: &["install", "-y", "--no-install-recommends"],
        refresh: Some(&["update"]),
        needs_root: true,
        package: |need| match need {
            Need::Cmake => "cmake",
            Need::CCompiler => "gcc libc6-dev",
            Need::Make => "make",
            Need::Postgres => "postgresql",
            Need::Redis => "redis-server",
            Need::Python => "python3 python3-venv",
            Need::Faketime => "libfaketime",
            Need::UtilLinux => "mount",
            Need::Valgrind => "valgrind",
            Need::Prometheus => "prometheus",
            Need::Alertmanager => "prometheus-alertmanager",
        },
    },
    Manager {
        program: "dnf",
        install: &["install", "-y"],
        refresh: None,
        needs_root: true,
        package: |need| match need {
            Need::Cmake => "cmake",
            Need::CCompiler => "gcc",
            Need::Make => "make",
            Need::Postgres => "postgresql-server",
            // Fedora's successor of Redis: same protocol, and it ships a `redis-server` link.
            Need::Redis => "valkey valkey-compat-redis",
            Need::Python => "python3",
            Need::Faketime => "libfaketime",
            Need::UtilLinux => "util-linux",
            Need::Valgrind => "valgrind",
            Need::Prometheus => "golang-github-prometheus",
            Need::Alertmanager => "golang-github-prometheus-alertmanager",
        },
    },
    Manager {
        program: "apk",
        install: &["add"],
        refresh: Some(&["update"]),
        needs_root: true,
        package: |need| match need {
            Need::Cmake => "cmake",
            Need::CCompiler => "gcc musl-dev",
            Need::Make => "make",
            Need::Postgres => "postgresql",
            Need::Redis => "redis",
            Need::Python => "python3",
            Need::Faketime => "libfaketime",
            Need::UtilLinux => "util-linux",
            Need::Valgrind => "valgrind",
            Need::Prometheus => "prometheus",
            Need::Alertmanager => "alertmanager",
        },
    },
    Manager {
        program: "pacman",
        install: &["-S", "--noconfirm", "--needed"],
        refresh: Some(&["-Sy"]),
        needs_root: true,
        package: |need| match need {
            Need::Cmake => "cmake",
            Need::CCompiler => "gcc",
            Need::Make => "make",
            Need::Postgres => "postgresql",
            Need::Redis => "redis",
            Need::Python => "python",
            Need::Faketime => "libfaketime",
            Need::UtilLinux => "util-linux",
            Need::Valgrind => "valgrind",
            Need::Prometheus => "prometheus",
            Need::Alertmanager => "alertmanager",
        },
    },
    Manager {
        program: "brew",
        install: &["install"],
        refresh: None,
        needs_root: false,
        package: |need| match need {
            Need::Cmake => "cmake",
            Need::CCompiler => "gcc",
            Need::Make => "make",
            Need::Postgres => "postgresql@17",
            Need::Redis => "redis",
            Need::Python => "python",
            Need::Faketime => "libfaketime",
            Need::UtilLinux => "util-linux",
            Need::Valgrind => "valgrind",
            Need::Prometheus => "prometheus",
            Need::Alertmanager => "alertmanager",
        },
    },
];

/// Installs, or says which command would.
pub(crate) fn install(needs: &[Need]) -> Result {
    let Some(manager) = MANAGERS.iter().find(|manager| which(manager.program).is_some()) else {
        return Err(Failure::message(format!(
            "{} is missing, and no package manager that I know is here",
            names(needs)
        )));
    };
    let prefix: &[&str] = match access(manager) {
        Access::Direct => &[],
        Access::Sudo => &["sudo", "-n"],
        Access::Denied => {
            let line = words(manager, &["sudo"], manager.install, needs).join(" ");
            return Err(Failure::message(format!("{} is missing. Type: {line}", names(needs))));
        }
    };
    eprintln!("{} is missing: installing it with {}", names(needs), manager.program);
    let attempt = || execute(&words(manager, prefix, manager.install, needs));
    let outcome = attempt().or_else(|_| match manager.refresh {
        Some(refresh) => execute(&words(manager, prefix, refresh, &[])).and_then(|()| attempt()),
        None => attempt(),
    });
    outcome.map_err(|_| {
        let line = words(manager, prefix, manager.install, needs).join(" ");
        Failure::message(format!("{} is missing, and this failed: {line}", names(needs)))
    })
}

enum Access {
    Direct,
    Sudo,
    Denied,
}

fn access(manager: &Manager) -> Access {
    if !manager.needs_root || is_root() {
        Access::Direct
    } else if which("sudo").is_some() && succeeds(Command::new("sudo").args(["-n", "true"])) {
        Access::Sudo
    } else {
        Access::Denied
    }
}

fn words<'a>(manager: &'a Manager, prefix: &[&'a str], verb: &'a [&'a str], needs: &[Need]) -> Vec<&'a str> {
    let mut words: Vec<&str> = prefix.to_vec();
    words.push(manager.program);
    words.extend(verb);
    words.extend(needs.iter().flat_map(|need| (manager.package)(*need).split(' ')));
    words
}

fn execute(words: &[&str]) -> Result {
    // Debian's tools ask questions on the terminal otherwise.
    run_aside(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
}

pub(crate) fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_named_is_the_command_that_would_run() {
        let apt = &MANAGERS[0];
        assert_eq!(
            words(apt, &["sudo"], apt.install, &[Need::Cmake, Need::CCompiler]).join(" "),
            "sudo apt-get install -y --no-install-recommends cmake gcc libc6-dev"
        );
    }
}
