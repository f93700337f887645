//! Processor time of programs and of the servers that they use, as the kernel counts it. On Linux; elsewhere nothing is known.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// What the kernel counts in: hundredths of a second, to every program on every architecture that Rust has a standard library for.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used so far by a process, its children, and those of its children that have ended.
///
/// None where the kernel does not say, or the process is gone.
pub fn used_by(process: u32) -> Option<Duration> {
    let all = Processes::read(Path::new("/proc"))?;
    all.of.contains_key(&process).then(|| TICK * u32::try_from(all.with_children(process)).unwrap_or(u32::MAX))
}

struct Processes {
    /// Parent and ticks by process id.
    of: BTreeMap<u32, (u32, u64)>,
}

impl Processes {
    fn read(proc: &Path) -> Option<Self> {
        let mut of = BTreeMap::new();
        for entry in fs::read_dir(proc).ok()?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Processes end while they are looked at.
            if let Some(stat) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(parse) {
                of.insert(id, stat);
            }
        }
        Some(Self { of })
    }

    fn with_children(&self, process: u32) -> u64 {
        let own = self.of.get(&process).map_or(0, |(_, ticks)| *ticks);
        let children = self.of.iter().filter(|(_, (parent, _))| *parent == process);
        own + children.map(|(child, _)| self.with_children(*child)).sum::<u64>()
    }
}

/// Parent and ticks (utime, stime, and those of children that were waited for) of a line of `/proc/PID/stat` (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(u32, u64)> {
    // The program's name, in parentheses, may hold blanks and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>()).sum::<Result<u64, _>>().ok()?;
    Some((fields.get(1)?.parse().ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let stat = "4087 (a (b) c) S 40 4087 4087 0 -1 4194304 1 0 0 0 250 50 7 3 20 0 9 0 100 0 0";
        assert_eq!(parse(stat), Some((40, 310)));
        assert_eq!(parse("4087 (a) S 40"), None);
    }

    #[test]
    fn children_are_counted_with_their_parent() {
        let of = BTreeMap::from([(1, (0, 100)), (7, (1, 10)), (8, (7, 5)), (9, (8, 1)), (10, (1, 50))]);
        assert_eq!(Processes { of }.with_children(7), 16);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_used_some() {
        assert!(used_by(std::process::id()).is_some() && used_by(u32::MAX).is_none());
    }
}
