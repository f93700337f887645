//! A disk that is told what was recorded, and says what it may hold when the power fails.
//!
//! What a sync was asked for and answered is there. Of what came after it, anything may be: each write, each of its sectors, each change of a
//! length or a name, in whatever order. Names are durable only when their folder was synced, the folder's own when its parent was; file
//! systems promise more than that, and not all the same.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    io::Write as _,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, rngs::StdRng};

use super::journal::What;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;

/// Which syncs the disk only pretends to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// None: it is honest.
    Never,
    /// Those of write-ahead logs, as if commits did not wait for the disk (`PRAGMA synchronous = NORMAL`).
    AboutLogs,
    /// Those of all files, and none of names (`PRAGMA synchronous = OFF`).
    AboutFiles,
}

/// How much survives of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// Nothing.
    Nothing,
    /// Everything: a crash of the program alone.
    Everything,
    /// Of each file something else: nothing, all, a beginning that ends in a torn write, some writes, some sectors; of the names a beginning, or
    /// some.
    Some,
}

/// The files of the folder by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// An index into `Disk::files`.
type FileId = usize;

#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Write { at: u64, bytes: &'a [u8] },
    Length(u64),
}

#[derive(Debug)]
enum Renaming {
    Create(String, FileId),
    Unlink(String),
    Rename(String, String, FileId),
}

/// What is durable, what is not yet, and what syncs under way will have made durable.
#[derive(Debug)]
struct Layers<T, C> {
    durable: T,
    pending: Vec<C>,
    /// How many changes were made durable before `pending`.
    settled: usize,
    /// By thread, how many changes there were when it asked.
    asked: HashMap<u64, usize>,
}

impl<T: Default, C> Default for Layers<T, C> {
    fn default() -> Self {
        Self { durable: T::default(), pending: Vec::new(), settled: 0, asked: HashMap::new() }
    }
}

impl<T, C> Layers<T, C> {
    fn ask(&mut self, thread: u64) {
        self.asked.insert(thread, self.settled + self.pending.len());
    }

    /// What the sync that this thread asked for makes durable.
    fn settle(&mut self, thread: u64) -> Vec<C> {
        let until = self.asked.remove(&thread).unwrap_or(0).saturating_sub(self.settled);
        self.settled += until;
        self.pending.drain(..until).collect()
    }
}

#[derive(Debug, Default)]
struct Stored<'a> {
    name: &'a str,
    layers: Layers<Vec<u8>, Change<'a>>,
}

/// The disk at one moment.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    lies: Lies,
    files: Vec<Stored<'a>>,
    /// Which file has an inode now.
    inodes: HashMap<u64, FileId>,
    /// Which names there are now, as a program sees them before the power fails.
    live: BTreeMap<String, FileId>,
    names: Layers<BTreeMap<String, FileId>, Renaming>,
    /// Whether the folder's own name is durable.
    is_there: bool,
}

impl<'a> Disk<'a> {
    /// An empty folder that has just been made.
    pub(super) fn new(lies: Lies) -> Self {
        let (files, inodes, live) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { lies, files, inodes, live, names: Layers::default(), is_there: false }
    }

    /// One thing more is done.
    pub(super) fn apply(&mut self, what: What<'a>) -> Result<()> {
        match what {
            What::Write { file, at, bytes } => self.stored(file)?.layers.pending.push(Change::Write { at, bytes }),
            What::Length { file, length } => self.stored(file)?.layers.pending.push(Change::Length(length)),
            What::Create { file, name } => {
                self.files.push(Stored { name, ..Stored::default() });
                let id = self.files.len() - 1;
                self.inodes.insert(file, id);
                self.live.insert(name.to_owned(), id);
                self.names.pending.push(Renaming::Create(name.to_owned(), id));
            }
            What::Unlink { name } => {
                ensure!(self.live.remove(name).is_some(), "{name} is removed, and was not made");
                self.names.pending.push(Renaming::Unlink(name.to_owned()));
            }
            What::Rename { from, to } => {
                let id = self.live.remove(from).with_context(|| format!("{from} is renamed, and was not made"))?;
                self.live.insert(to.to_owned(), id);
                self.names.pending.push(Renaming::Rename(from.to_owned(), to.to_owned(), id));
            }
            What::Sync { file, thread } => {
                let lies = self.lies;
                let stored = self.stored(file)?;
                if lies == Lies::Never || (lies == Lies::AboutLogs && !stored.name.ends_with("-wal")) {
                    stored.layers.ask(thread);
                }
            }
            What::Synced { file, thread } => {
                let layers = &mut self.stored(file)?.layers;
                for change in layers.settle(thread) {
                    change.apply(&mut layers.durable);
                }
            }
            What::FolderSync { thread } => self.names.ask(thread),
            What::FolderSynced { thread } => {
                for change in self.names.settle(thread) {
                    change.apply(&mut self.names.durable);
                }
            }
            What::ParentSynced => self.is_there = true,
            What::Halted => {
                // Its syncs are not answered any more; threads of the next program may have the same ids.
                self.names.asked.clear();
                self.files.iter_mut().for_each(|file| file.layers.asked.clear());
            }
        }
        Ok(())
    }

    fn stored(&mut self, inode: u64) -> Result<&mut Stored<'a>> {
        let id = self.inodes.get(&inode).copied();
        let id = id.with_context(|| format!("inode {inode} was made before the recording began"))?;
        self.files.get_mut(id).context("a file without contents")
    }

    /// What it may hold if the power fails now.
    pub(super) fn without_power(&self, luck: Luck, random: &mut StdRng) -> Image {
        let is_there = match luck {
            Luck::Nothing => self.is_there,
            Luck::Everything => true,
            Luck::Some => self.is_there || random.random_bool(0.5),
        };
        if !is_there {
            return Image::new();
        }
        let mut names = self.names.durable.clone();
        let pending = self.names.pending.len();
        let first = random.random_range(0..=pending);
        let in_order = random.random_bool(0.5);
        for (at, change) in self.names.pending.iter().enumerate() {
            let survives = match luck {
                Luck::Nothing => false,
                Luck::Everything => true,
                Luck::Some if in_order => at < first,
                Luck::Some => random.random_bool(0.5),
            };
            if survives {
                change.apply(&mut names);
            }
        }
        let contents = |id: FileId, random: &mut StdRng| {
            self.files.get(id).map(|stored| survivor(&stored.layers, luck, random)).unwrap_or_default()
        };
        names.into_iter().map(|(name, id)| (name, contents(id, random))).collect()
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

impl Change<'_> {
    fn apply(self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(contents, place(at), bytes),
            Self::Length(length) => contents.resize(place(length), 0),
        }
    }
}

/// Test files are far smaller than what a `usize` holds.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn put(contents: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[at..end].copy_from_slice(bytes);
}

/// Only those sectors of a write of which `survives` says so.
fn put_sectors(contents: &mut Vec<u8>, at: u64, bytes: &[u8], mut survives: impl FnMut() -> bool) {
    let (mut at, mut rest) = (place(at), bytes);
    while !rest.is_empty() {
        let (sector, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        if survives() {
            put(contents, at, sector);
        }
        at += sector.len();
        rest = after;
    }
}

fn survivor(layers: &Layers<Vec<u8>, Change<'_>>, luck: Luck, random: &mut StdRng) -> Vec<u8> {
    let mut contents = layers.durable.clone();
    let pending = &layers.pending;
    let all = |contents: &mut Vec<u8>, changes: &[Change<'_>]| changes.iter().for_each(|change| change.apply(contents));
    match luck {
        Luck::Nothing => {}
        Luck::Everything => all(&mut contents, pending),
        Luck::Some => match random.random_range(0..5) {
            0 => {}
            1 => all(&mut contents, pending),
            2 if !pending.is_empty() => {
                let whole = random.random_range(0..pending.len());
                all(&mut contents, &pending[..whole]);
                if let Change::Write { at, bytes } = pending[whole] {
                    let mut left = random.random_range(0..=bytes.len().div_ceil(SECTOR));
                    put_sectors(&mut contents, at, bytes, || {
                        let survives = left > 0;
                        left = left.saturating_sub(1);
                        survives
                    });
                }
            }
            way => {
                let share = random.random_range(0.05..0.95);
                for change in pending {
                    match *change {
                        Change::Write { at, bytes } if way == 4 => {
                            put_sectors(&mut contents, at, bytes, || random.random_bool(share));
                        }
                        change if random.random_bool(share) => change.apply(&mut contents),
                        _ => {}
                    }
                }
            }
        },
    }
    contents
}

/// Puts an image into a folder that is there, for its owner alone: modes are not recorded.
///
/// # Errors
/// When it cannot be written.
pub fn put_into(folder: &Path, image: &Image) -> Result<()> {
    for (name, contents) in image {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(folder.join(name)).and_then(|mut file| file.write_all(contents));
        written.with_context(|| format!("{name} of an image"))?;
    }
    Ok(())
}
