//! A wall clock that a test sets, by libfaketime. The monotonic clock goes on as it is, as on a machine whose time is set.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Here;
use crate::process::Launch;

/// The wall clock of one program.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// Right, until it is set. What it is set to is kept in a file in `dir`.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn right(dir: &Path) -> Here<Self> {
        let library = library().ok_or("libfaketime is not installed (package `libfaketime`)")?;
        let clock = Self { library, file: dir.join("wall-clock") };
        clock.set(0).map_err(|error| error.to_string())?;
        Ok(clock)
    }

    /// A program that is started so has this clock.
    #[must_use]
    pub fn in_launch(&self, launch: Launch) -> Launch {
        launch
            .env("LD_PRELOAD", self.library.display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string())
            // Read each time; a step is seen at once.
            .env("FAKETIME_NO_CACHE", "1")
            // Otherwise timed waits of the standard library never end.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// Sets it to this number of seconds before (negative) or after the right time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, offset_secs: i64) -> Result<()> {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, format!("{offset_secs:+}\n"))?;
        Ok(std::fs::rename(draft, &self.file)?)
    }
}

fn library() -> Option<PathBuf> {
    const NAME: &str = "faketime/libfaketimeMT.so.1";
    let architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = architectures.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    folders.map(|folder| folder.join(NAME)).find(|file| file.is_file())
}
