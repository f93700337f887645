//! One server per file: a lock that the kernel gives back when its process dies, however it dies, and that says who has it.
//!
//! On Linux `flock`, which network file systems pass on (NFS since Linux 2.6.12, SMB) or refuse; one that does neither lets two
//! servers run, and must not hold data. The file itself means nothing: a copy of it locks nothing, and it is not removed at the end,
//! because a process that has just opened it would then lock a file without a name.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

/// A lock's file holds a few short lines; what is longer is no such file.
const TEXT_BYTES_MAX: u64 = 4096;
/// How often to look again for a lock that this very process is giving back, a millisecond apart.
const LOOKS_MAX: u32 = 200;

/// Held until its last clone in this process is dropped, or the process ends.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    file: Mutex<File>,
}

/// Who holds a lock, by its own account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The process's id, on the machine or in the container where it runs.
    pub process: Option<u32>,
    /// What runs, where, and what else it has told.
    pub about: Vec<String>,
    /// For how long, by the wall clock.
    pub held_for: Option<Duration>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) => write!(f, "process {process}")?,
            None => f.write_str("another process")?,
        }
        let since = self.held_for.map(|held_for| format!("for {} s", held_for.as_secs()));
        let about: Vec<&str> = self.about.iter().map(String::as_str).chain(since.as_deref()).collect();
        if about.is_empty() { Ok(()) } else { write!(f, " ({})", about.join(", ")) }
    }
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A process that lives has it.
    #[error("{} is in use by {holder}", subject.display())]
    Held {
        /// What is locked.
        subject: PathBuf,
        /// By whom.
        holder: Holder,
    },
    /// The lock's file cannot be opened, or its file system does not lock.
    #[error("cannot lock {}", path.display())]
    Failed {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What this process holds. A second claim in one process shares the first: it is two processes that must not meet.
static HELD: Mutex<BTreeMap<PathBuf, Weak<FileLock>>> = Mutex::new(BTreeMap::new());

impl FileLock {
    /// Takes the lock in the file `path`, for `subject`, at once or not at all. Its folder must exist.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn take(path: &Path, subject: &Path) -> Result<Arc<Self>, LockError> {
        let failed = |source: io::Error| LockError::Failed { path: path.to_path_buf(), source };
        let path = absolute(path).map_err(failed)?;
        let mut looks = 0;
        loop {
            let mut held = lock(&HELD);
            if let Some(mine) = held.get(&path).and_then(Weak::upgrade) {
                return Ok(mine);
            }
            let mut file = open(&path).map_err(failed)?;
            match file.try_lock() {
                // Between opening and locking the file may have been removed; then the lock is on a file without a name.
                Ok(()) if !is_the_file_at(&file, &path) && looks < LOOKS_MAX => looks += 1,
                Ok(()) => {
                    // For people only. On a full disk the lock holds as well, but names no process.
                    let _ = introduce(&mut file);
                    let mine = Arc::new(Self { path: path.clone(), file: Mutex::new(file) });
                    held.retain(|_, other| other.strong_count() > 0);
                    held.insert(path, Arc::downgrade(&mine));
                    return Ok(mine);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = read_holder(&mut file);
                    let ours = holder.process == Some(std::process::id()) && holder.about == about_us();
                    if !ours || looks >= LOOKS_MAX {
                        return Err(LockError::Held { subject: subject.to_path_buf(), holder });
                    }
                    // Dropped by another thread of ours a moment ago, and not closed yet.
                    looks += 1;
                    drop(held);
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Who has the lock in the file `path`, if a process has; this one counts. Takes nothing, makes nothing.
    ///
    /// # Errors
    /// When the file is there and cannot be opened, or its file system does not lock.
    pub fn holder(path: &Path) -> Result<Option<Holder>, LockError> {
        let failed = |source: io::Error| LockError::Failed { path: path.to_path_buf(), source };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Shared, so that two that look do not see each other; given back when `file` is closed, below.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Tells more about this process to those that find the lock held.
    ///
    /// # Errors
    /// When the file cannot be written; the lock holds.
    pub fn tell(&self, line: &str) -> io::Result<()> {
        let mut file = lock(&self.file);
        file.seek(io::SeekFrom::End(0))?;
        writeln!(file, "{line}")
    }

    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One name for one file, whatever way leads to its folder.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(folder)?.join(path.file_name().unwrap_or_default()))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn is_the_file_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let same = |(mine, named): (fs::Metadata, fs::Metadata)| mine.ino() == named.ino() && mine.dev() == named.dev();
    file.metadata().and_then(|mine| Ok((mine, fs::metadata(path)?))).is_ok_and(same)
}

#[cfg(not(unix))]
fn is_the_file_at(_: &File, _: &Path) -> bool {
    // An open file cannot be removed.
    true
}

fn introduce(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let lines = [vec![std::process::id().to_string()], about_us()].concat();
    file.write_all((lines.join("\n") + "\n").as_bytes())
}

/// The program with its verb, and the machine or container.
fn about_us() -> Vec<String> {
    let mut args = std::env::args_os();
    let program = args.next().map(PathBuf::from).unwrap_or_default();
    let mut name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(verb) =
        args.next().map(|verb| verb.to_string_lossy().into_owned()).filter(|verb| !verb.starts_with('-'))
    {
        name = format!("{name} {verb}");
    }
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| format!("on {}", name.trim()));
    [Some(name), machine].into_iter().flatten().collect()
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(TEXT_BYTES_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Holder::default();
    }
    let mut lines = text.lines();
    let process = lines.next().and_then(|line| line.trim().parse().ok());
    let about = lines.map(str::to_owned).collect();
    let since = file.metadata().and_then(|metadata| metadata.modified()).ok();
    // A clock that was set back tells nothing.
    let held_for = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    Holder { process, about, held_for: held_for.filter(|_| process.is_some()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As another process would: with a file description of its own, past what this process knows it holds.
    fn from_outside(path: &Path) -> bool {
        open(path).unwrap().try_lock().is_ok()
    }

    #[test]
    fn a_lock_is_held_until_its_last_clone_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = FileLock::take(&path, dir.path()).unwrap();
        let second = FileLock::take(&path, dir.path()).unwrap();
        drop(first);
        assert!(!from_outside(&path));
        drop(second);
        assert!(from_outside(&path));
    }

    #[test]
    fn the_holder_of_a_held_lock_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut other = open(&path).unwrap();
        other.lock().unwrap();
        other.write_all(b"4242\namends up\n").unwrap();
        let error = FileLock::take(&path, dir.path()).unwrap_err().to_string();
        assert!(error.contains("is in use by process 4242 (amends up, for "), "{error}");
        assert_eq!(FileLock::holder(&path).unwrap().unwrap().process, Some(4242));
        drop(other);
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        FileLock::take(&path, dir.path()).unwrap();
    }

    #[test]
    fn a_lock_tells_what_its_holder_adds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mine = FileLock::take(&path, dir.path()).unwrap();
        mine.tell("http://127.0.0.1:8080").unwrap();
        let holder = FileLock::holder(&path).unwrap().unwrap();
        assert_eq!(holder.process, Some(std::process::id()));
        assert!(holder.about.iter().any(|line| line == "http://127.0.0.1:8080"), "{holder}");
    }

    #[test]
    fn a_copy_of_a_lock_locks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("lock"), dir.path().join("copy"));
        let _held = FileLock::take(&path, dir.path()).unwrap();
        fs::copy(&path, &copy).unwrap();
        FileLock::take(&copy, dir.path()).unwrap();
    }

    #[test]
    fn a_lock_in_a_missing_folder_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = FileLock::take(&dir.path().join("no/lock"), dir.path()).unwrap_err().to_string();
        assert!(error.contains("cannot lock") && error.contains("no/lock"), "{error}");
    }
}
