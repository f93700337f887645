//! Which stores a data directory has had: a file that is missing beside the others is named, not made anew and empty.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use service_base::files::{self, Access};

/// The record's file.
const FILE: &str = "instance.toml";

/// The record. Written when every store has been made, so that a first start that was cut off may be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The names of the stores' files in the directory.
    pub stores: BTreeSet<String>,
}

impl Instance {
    /// Where the record is.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Reads the record; an empty one where there is none, as in directories of older versions.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let file = Self::file(data_dir);
        match fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{} is damaged", file.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Records those of `stores` that are in the directory. Writes nothing that is on record.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn record<'a>(data_dir: &Path, stores: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        let before = Self::read(data_dir)?;
        let inside = stores.filter(|file| file.parent() == Some(data_dir));
        let names = inside.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()));
        let now = Self { stores: names.chain(before.stores.iter().cloned()).collect() };
        if now == before {
            return Ok(());
        }
        let text = format!(
            "# Written by amends. A store named here that is missing is an error, and not made anew.\n{}",
            toml::to_string(&now)?
        );
        files::write_whole(&Self::file(data_dir), text.as_bytes(), Access::Shared)
    }
}
