//! A library that is loaded before all others into the program under test, and makes its writes fail on cue.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::Result;
use tempfile::TempDir;

use super::{Here, preload};
use crate::process::Launch;

const SOURCE: &str = include_str!("shim.c");

/// What happens to each write below the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// `EIO`: the disk is broken.
    Broken,
    /// `ENOSPC`: the disk is full.
    Full,
    /// `EROFS`: the disk has become read-only, as after an error of the file system.
    ReadOnly,
    /// Each takes 300 ms longer.
    Slow,
}

/// The cue for one program.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    folder: PathBuf,
    cue: PathBuf,
}

impl Shim {
    /// For writes below `folder`; the cue is a file beside it. Needs a C compiler, and a system that preloads libraries.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn below(folder: &Path) -> Here<Self> {
        let library = library().as_ref().map_err(Clone::clone)?.clone();
        // As `/proc` will show it.
        let parent = folder.parent().and_then(|parent| parent.canonicalize().ok()).ok_or("the folder has no parent")?;
        let name = folder.file_name().ok_or("the folder has no name")?;
        let mut cue = name.to_owned();
        cue.push(".cue");
        Ok(Self { library, folder: parent.join(name), cue: parent.join(cue) })
    }

    /// A program that is started so takes the cue.
    #[must_use]
    pub fn in_launch(&self, launch: Launch) -> Launch {
        launch
            .env(preload::VARIABLE, self.library.display().to_string())
            .env("AMENDS_SHIM_FOLDER", self.folder.display().to_string())
            .env("AMENDS_SHIM_CUE", self.cue.display().to_string())
    }

    /// From now on, until [`Shim::repair`].
    ///
    /// # Errors
    /// When the cue cannot be given.
    pub fn make(&self, writes: Writes) -> Result<()> {
        let letter = match writes {
            Writes::Broken => "E",
            Writes::Full => "N",
            Writes::ReadOnly => "R",
            Writes::Slow => "S",
        };
        let draft = self.cue.with_extension("draft");
        std::fs::write(&draft, letter)?;
        Ok(std::fs::rename(draft, &self.cue)?)
    }

    /// Writes are as they were.
    ///
    /// # Errors
    /// When the cue cannot be taken back.
    pub fn repair(&self) -> Result<()> {
        match std::fs::remove_file(&self.cue) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Compiled once in each test process.
fn library() -> &'static Here<PathBuf> {
    static LIBRARY: OnceLock<(Here<PathBuf>, Option<TempDir>)> = OnceLock::new();
    let compiled = || {
        let dir = match tempfile::Builder::new().prefix("amends-shim-").tempdir() {
            Ok(dir) => dir,
            Err(error) => return (Err(format!("no folder for the library: {error}")), None),
        };
        (preload::compile("shim", SOURCE, dir.path()), Some(dir))
    };
    &LIBRARY.get_or_init(compiled).0
}
