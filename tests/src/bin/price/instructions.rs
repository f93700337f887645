//! Instructions of the program's own code for one order, counted by callgrind, one caller at a time.
//!
//! Callgrind runs one thread after the other on a processor that it imitates, tens of times slower than the machine's. What is done by
//! the clock meets more of these orders than of real ones, and is in the figure; what the kernel does is not. Means, because a count for
//! a single order would be taken at its answer, and what follows the answer would be the next one's.

use std::{collections::BTreeMap, path::Path};

use amends_tests::process::Launch;
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    figures::{Figures, Measured},
    journeys::Journey,
    subject::Subject,
};

/// Connections are open, statements prepared and caches filled after so many of each kind.
const WARM_UP: usize = 20;
/// The name under which callgrind writes its counts.
const COUNTS: &str = "counts";

/// Callgrind around a program that is started, and where it writes.
pub(crate) struct Callgrind(TempDir);

impl Callgrind {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(TempDir::with_prefix("amends-callgrind-")?))
    }

    pub(crate) fn launch(&self) -> Launch {
        let out = format!("--callgrind-out-file={}", self.0.path().join(COUNTS).display());
        let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &out].map(str::to_owned).to_vec();
        Launch { wrapper, ..Launch::default() }
    }

    /// Instructions since the last time this was asked, or since the start.
    async fn taken(&self, process: u32) -> Result<u64> {
        let asked = Command::new("vgdb").arg(format!("--pid={process}")).arg("dump").output().await;
        let asked = asked.context("vgdb, which comes with valgrind")?;
        ensure!(asked.status.success(), "callgrind wrote no counts: {}", String::from_utf8_lossy(&asked.stderr));
        self.newest()
    }

    /// What the newest file of counts says, which is then removed.
    fn newest(&self) -> Result<u64> {
        let mut newest: Option<(u64, std::path::PathBuf)> = None;
        for entry in std::fs::read_dir(self.0.path())? {
            let path = entry?.path();
            let number = path.extension().and_then(|number| number.to_str()?.parse().ok());
            newest = newest.max(number.map(|number| (number, path)));
        }
        let (_, path) = newest.context("callgrind wrote no counts")?;
        let total = total(&path)?;
        std::fs::remove_file(path)?;
        Ok(total)
    }
}

fn total(path: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.context("counts without their total")?.trim().parse()?)
}

/// The mean over so many requests of each kind.
pub(crate) async fn measure(subject: &Subject, callgrind: &Callgrind, orders: usize) -> Result<Measured> {
    for _ in 0..WARM_UP {
        let mut last = None;
        for journey in Journey::ALL {
            journey.make(&subject.client, &mut last).await?;
        }
    }
    let process = subject.platform.process_id("amends").context("it does not run")?;
    let mut confirmed: Vec<Option<String>> = vec![None; orders];
    let mut measured = BTreeMap::new();
    for journey in Journey::ALL {
        subject.platform.settled().await?;
        callgrind.taken(process).await?;
        for order in &mut confirmed {
            journey.make(&subject.client, order).await?;
        }
        let each = callgrind.taken(process).await? / orders as u64;
        #[expect(clippy::cast_precision_loss, reason = "millions, far below 2⁵²")]
        measured.insert(journey.name(), Figures::from([("instructions".to_owned(), each as f64)]));
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_once_the_newest_first() {
        let callgrind = Callgrind::new().unwrap();
        for (number, total) in [(2, 7), (10, 12_345)] {
            let text = format!("version: 1\nevents: Ir\nsummary: 1\n\nfn=(1)\n+1 {total}\n\ntotals: {total}\n");
            std::fs::write(callgrind.0.path().join(format!("{COUNTS}.{number}")), text).unwrap();
        }
        assert_eq!((callgrind.newest().unwrap(), callgrind.newest().unwrap()), (12_345, 7));
        assert!(callgrind.newest().is_err());
    }
}
