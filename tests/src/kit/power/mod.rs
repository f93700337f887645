//! Power cuts: a library that is loaded before all others into the program under test and records what it does to the files of its data
//! directory, and what a disk may hold of that if the power had failed at any moment. What is recorded, and how, is said at the top of
//! `recorder.c`; what survives, at the top of `disk.rs`.

mod disk;
mod journal;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use tempfile::TempDir;

pub use disk::{Image, Lies, Luck, put_into};

use self::{
    disk::Disk,
    journal::{Entry, What, parse},
};
use super::{Here, preload};
use crate::process::{Launch, eventually};

const SOURCE: &str = include_str!("recorder.c");
/// A claimed store writes every two seconds while there are customers.
const HALT_MAX: Duration = Duration::from_secs(30);

/// A recording of one folder, which is not there when it begins.
#[derive(Debug)]
pub struct Recording {
    dir: TempDir,
    library: PathBuf,
    folder: PathBuf,
}

impl Recording {
    /// Of what is done in `folder`, whose parent is there. Needs a C compiler, and a system that preloads libraries.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn of(folder: &Path) -> Here<Self> {
        let dir = tempfile::Builder::new().prefix("amends-power-").tempdir().map_err(|error| error.to_string())?;
        let library = preload::compile("power", SOURCE, dir.path())?;
        // As `/proc` will show it.
        let parent = folder.parent().and_then(|parent| parent.canonicalize().ok()).ok_or("the folder has no parent")?;
        let folder = parent.join(folder.file_name().ok_or("the folder has no name")?);
        Ok(Self { dir, library, folder })
    }

    /// A program that is started so is recorded. One at a time.
    #[must_use]
    pub fn in_launch(&self, launch: Launch) -> Launch {
        launch
            .env(preload::VARIABLE, self.library.display().to_string())
            .env("AMENDS_POWER_FOLDER", self.folder.display().to_string())
            .env("AMENDS_POWER_JOURNAL", self.journal().display().to_string())
            .env("AMENDS_POWER_HALT", self.cue().display().to_string())
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn cue(&self) -> PathBuf {
        self.dir.path().join("halt")
    }

    /// Where the recording is now. What the program made durable before it answered lies before it.
    ///
    /// # Errors
    /// When nothing was recorded yet.
    pub fn position(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.journal()).context("nothing is recorded")?.len())
    }

    /// Makes the program stand still in its next change, so that it can be killed between two. Under load, or it makes none.
    ///
    /// # Errors
    /// When it makes none.
    pub async fn halt(&self) -> Result<()> {
        let before = self.position()?;
        std::fs::write(self.cue(), "")?;
        // Nothing is recorded after a halt, so it is the last record.
        eventually("the program stands still", HALT_MAX, || async {
            let recorded = std::fs::read(self.journal()).unwrap_or_default();
            let last = recorded.get(usize::try_from(before).unwrap_or_default()..).map(parse);
            last.is_some_and(|last| last.is_ok_and(|last| last.last().is_some_and(|entry| entry.what == What::Halted)))
        })
        .await
    }

    /// The next program is not made to stand still.
    ///
    /// # Errors
    /// When the cue cannot be taken back.
    pub fn go_on(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.cue())?)
    }

    /// All that was recorded.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn read(&self) -> Result<Recorded> {
        Ok(Recorded(std::fs::read(self.journal()).context("nothing is recorded")?))
    }

    /// What is in the folder now, as far as it is recorded.
    ///
    /// # Errors
    /// When it cannot be read, or has folders in it.
    pub fn folder(&self) -> Result<Image> {
        let mut image = Image::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            ensure!(path.is_file(), "{} is not recorded", path.display());
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with("-shm") {
                image.insert(name, std::fs::read(path)?);
            }
        }
        Ok(image)
    }
}

/// A recording that is over.
#[derive(Debug)]
pub struct Recorded(Vec<u8>);

/// Counts of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Things that were recorded.
    pub records: usize,
    /// Of them writes.
    pub writes: usize,
    /// Of them syncs, of files and of the folder, that were answered.
    pub syncs: usize,
    /// Bytes, all in all.
    pub bytes: usize,
}

impl Recorded {
    /// How much it is.
    ///
    /// # Errors
    /// When it is in another format.
    pub fn extent(&self) -> Result<Extent> {
        let entries = parse(&self.0)?;
        let of = |is: fn(&What<'_>) -> bool| entries.iter().filter(|entry| is(&entry.what)).count();
        Ok(Extent {
            records: entries.len(),
            writes: of(|what| matches!(what, What::Write { .. })),
            syncs: of(|what| matches!(what, What::Synced { .. } | What::FolderSynced { .. } | What::ParentSynced)),
            bytes: self.0.len(),
        })
    }

    /// What the disk holds at the end, if the power does not fail.
    ///
    /// # Errors
    /// When something was recorded of a file that was not.
    pub fn everything(&self, random: &mut StdRng) -> Result<Image> {
        let entries = parse(&self.0)?;
        let mut disk = Disk::new(Lies::Never);
        entries.iter().try_for_each(|entry| disk.apply(entry.what))?;
        Ok(disk.without_power(Luck::Everything, random))
    }

    /// Makes an image for each of these positions, in their order, and gives it to `look`. The power fails right after the last thing that was recorded
    /// by then.
    ///
    /// # Errors
    /// What `look` returns, with the position.
    pub async fn cut_at(
        &self,
        cuts: &[(u64, Luck)],
        lies: Lies,
        random: &mut StdRng,
        mut look: impl AsyncFnMut(u64, Luck, Image) -> Result<()>,
    ) -> Result<()> {
        let entries = parse(&self.0)?;
        let mut disk = Disk::new(lies);
        let mut rest: &[Entry<'_>] = &entries;
        ensure!(cuts.is_sorted_by_key(|(at, _)| *at), "a disk does not go back in time");
        for (at, luck) in cuts {
            while let Some((entry, after)) = rest.split_first().filter(|(entry, _)| entry.end <= *at) {
                disk.apply(entry.what)?;
                rest = after;
            }
            let image = disk.without_power(*luck, random);
            look(*at, *luck, image)
                .await
                .with_context(|| format!("the power failed at byte {at}, of what was not synced survived: {luck:?}"))?;
        }
        Ok(())
    }
}
