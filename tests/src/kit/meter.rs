//! A library that is loaded before all others into the program under test, and counts what it asks of its machine: memory, futexes, writes,
//! syncs, log lines. What it can see and what it cannot is said at the top of `meter.c`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Here, preload};
use crate::process::Launch;

const SOURCE: &str = include_str!("meter.c");

/// `struct meter` of `meter.c`: first these counts, then how many files follow, then the files.
const COUNTS: [&str; 10] = [
    "allocations",
    "allocated_bytes",
    "futexes",
    "randoms",
    "sends",
    "sent_bytes",
    "wakes",
    "log_writes",
    "log_lines",
    "log_bytes",
];
const WORD: usize = 8;
const NAME: usize = 192;
const FILE_WORDS: usize = 5;

/// The counts of one program.
#[derive(Debug)]
pub struct Meter {
    _dir: TempDir,
    library: PathBuf,
    shared: PathBuf,
}

/// What was counted up to a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// By name.
    pub counts: BTreeMap<&'static str, u64>,
    /// By the file's name, without its folder.
    pub files: BTreeMap<String, FileCounts>,
}

/// What was asked of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Calls that write.
    pub writes: u64,
    /// What they wrote.
    pub bytes: u64,
    /// `fsync` and `fdatasync`.
    pub syncs: u64,
    /// Changes of the length.
    pub truncations: u64,
    /// Pages written to a write-ahead log of SQLite.
    pub frames: u64,
}

impl Meter {
    /// Needs a C compiler, and a system that preloads libraries.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn new() -> Here<Self> {
        let dir = tempfile::Builder::new().prefix("amends-meter-").tempdir().map_err(|error| error.to_string())?;
        let library = preload::compile("meter", SOURCE, dir.path())?;
        Ok(Self { library, shared: dir.path().join("counts"), _dir: dir })
    }

    /// A program that is started so is counted.
    #[must_use]
    pub fn in_launch(&self, launch: Launch) -> Launch {
        launch
            .env(preload::VARIABLE, self.library.display().to_string())
            .env("AMENDS_METER", self.shared.display().to_string())
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// When the program was not started with it.
    pub fn read(&self) -> Result<Reading> {
        let bytes = std::fs::read(&self.shared).context("the program under test counts nothing")?;
        Reading::parse(&bytes).context("the program under test counts in another layout")
    }

    /// What was counted when nothing more was for `quiet`: the program is then idle, and an order's work is over. Its timers are rare
    /// beside that.
    ///
    /// # Errors
    /// When it is not idle within `bound`.
    pub async fn read_when_quiet(&self, quiet: Duration, bound: Duration) -> Result<Reading> {
        let begun = Instant::now();
        let (mut reading, mut since) = (self.read()?, Instant::now());
        while since.elapsed() < quiet {
            anyhow::ensure!(begun.elapsed() < bound, "the program under test is not idle within {bound:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = self.read()?;
            if now != reading {
                (reading, since) = (now, Instant::now());
            }
        }
        Ok(reading)
    }
}

impl Reading {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + WORD)?.try_into().ok()?));
        let mut reading = Self::default();
        for (index, name) in COUNTS.into_iter().enumerate() {
            reading.counts.insert(name, word(index * WORD)?);
        }
        let mut at = COUNTS.len() * WORD;
        let files = word(at)?;
        at += WORD;
        for _ in 0..files {
            let name = bytes.get(at..at + NAME)?.split(|byte| *byte == 0).next()?;
            let name = Path::new(std::str::from_utf8(name).ok()?).file_name()?.to_str()?.to_owned();
            let of = |index: usize| word(at + NAME + index * WORD);
            let counts =
                FileCounts { writes: of(0)?, bytes: of(1)?, syncs: of(2)?, truncations: of(3)?, frames: of(4)? };
            *reading.files.entry(name).or_default() += counts;
            at += NAME + FILE_WORDS * WORD;
        }
        Some(reading)
    }
}

impl std::ops::AddAssign for FileCounts {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.syncs += other.syncs;
        self.truncations += other.truncations;
        self.frames += other.frames;
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_shell_prints_is_counted() {
        let meter = match Meter::new() {
            Ok(meter) => meter,
            Err(why) => return crate::announce(&format!("NOT RUN: counting a shell's lines: {why}")),
        };
        let launch = meter.in_launch(Launch::default());
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; printf 'two\\nthree\\n'"]).envs(launch.environment).stdout(Stdio::null());
        assert!(shell.status().unwrap().success());
        let reading = meter.read().unwrap();
        assert!(reading.counts["allocations"] > 0 && reading.counts["allocated_bytes"] > 0);
        assert_eq!((reading.counts["log_lines"], reading.counts["log_bytes"]), (3, 14));
    }

    #[test]
    fn counts_in_another_layout_are_refused() {
        let mut bytes = vec![0; (COUNTS.len() + 1) * WORD];
        assert_eq!(Reading::parse(&bytes).unwrap().counts.len(), COUNTS.len());
        bytes[COUNTS.len() * WORD] = 1;
        assert_eq!(Reading::parse(&bytes), None);
    }
}
